-- The first and the last day with e-mails of one campaign or of all, and the last day with any that is over.
--
-- They are null if no e-mail was delivered or bounced.
with days as (
    select
        campaign_days.delivery_day as day,
        %(campaign)s::text is null or campaign_days.campaign_id = %(campaign)s as is_chosen,
        campaign_days.delivery_day < (now() at time zone settings.value)::date as is_over
    from campaign_days
    inner join settings on settings.name = 'reporting_time_zone'
    where campaign_days.attempted > 0
)

select
    min(day) filter (where is_chosen) as first_day,
    max(day) filter (where is_chosen) as last_day,
    max(day) filter (where is_over) as last_whole_day
from days
