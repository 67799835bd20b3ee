-- The first opens by people of the period's e-mails, by weekday and hour of the open.
--
-- The range of times lets the database skip messages of other times; days are those of the reporting time zone.
select
    extract(isodow from email_messages.human_opened_at at time zone settings.value)::int as weekday,
    extract(hour from email_messages.human_opened_at at time zone settings.value)::int as hour,
    count(*) as opens
from email_messages
inner join settings on settings.name = 'reporting_time_zone'
where
    email_messages.delivered_at >= %(first)s::date::timestamp at time zone settings.value
    and email_messages.delivered_at < (%(last)s::date + 1)::timestamp at time zone settings.value
    and email_messages.human_opened_at is not null
    and (%(campaign)s::text is null or email_messages.campaign_id = %(campaign)s)
group by weekday, hour
