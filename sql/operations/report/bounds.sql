-- The first and the last day with e-mails, and the last one that is over; null if no e-mail was delivered or bounced.
select
    min(campaign_days.delivery_day) as first_day,
    max(campaign_days.delivery_day) as last_day,
    max(campaign_days.delivery_day) filter (
        where campaign_days.delivery_day < (now() at time zone settings.value)::date
    ) as last_whole_day
from campaign_days
inner join settings on settings.name = 'reporting_time_zone'
where
    campaign_days.attempted > 0
    and (%(campaign)s::text is null or campaign_days.campaign_id = %(campaign)s)
