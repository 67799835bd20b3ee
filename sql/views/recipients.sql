-- One row per person with an e-mail event, also one that only bounced or whose delivery is not in the data: latest and
-- total deliveries, opens and clicks.
create or replace view recipients as
with people as (
    select
        stored.*,
        people.name,
        addresses.name as email,
        now() - greatest(stored.last_human_opened_at, stored.last_human_clicked_at) as quiet_for
    from stored_recipients as stored
    left join stored_people as people on stored.person = people.person
    left join stored_people as addresses on stored.address = addresses.person
)

select
    name as person,
    email,
    first_delivered_at,
    last_delivered_at,
    last_human_opened_at,
    last_human_clicked_at,
    case
        when quiet_for is null then 'never'
        when quiet_for <= interval '30 days' then '30 days'
        when quiet_for <= interval '90 days' then '90 days'
        when quiet_for <= interval '180 days' then '180 days'
        when quiet_for <= interval '365 days' then '365 days'
        else 'longer ago'
    end as recency,
    delivered::bigint as delivered,
    bounced::bigint as bounced,
    human_opened::bigint as human_opened,
    human_clicked::bigint as human_clicked,
    unsubscribed_at is not null as has_unsubscribed,
    unsubscribed_at,
    complained_at,
    conversions::bigint as conversions,
    trim_scale(revenue) as revenue,
    trim_scale(attributed_revenue) as attributed_revenue
from people;

comment on view recipients is 'One row per person with an e-mail event, delivered or not: latest and total deliveries, opens and clicks';
comment on column recipients.person is 'A user id, else an e-mail address';
comment on column recipients.email is 'The address of their latest delivery';
comment on column recipients.first_delivered_at is 'Their first delivery';
comment on column recipients.last_delivered_at is 'Their last delivery';
comment on column recipients.last_human_opened_at is 'Time of their last open of an e-mail, machines excluded';
comment on column recipients.last_human_clicked_at is 'When they last clicked, machines excluded';
comment on column recipients.recency is 'How long ago they last opened or clicked: 30 days, 90 days, 180 days, 365 days, longer ago, never';
comment on column recipients.delivered is 'Messages delivered to them';
comment on column recipients.bounced is 'Messages to them that bounced';
comment on column recipients.human_opened is 'Delivered messages they opened';
comment on column recipients.human_clicked is 'Delivered messages they clicked';
comment on column recipients.has_unsubscribed is 'Whether they ever unsubscribed';
comment on column recipients.unsubscribed_at is 'When they last unsubscribed';
comment on column recipients.complained_at is 'When they last marked an e-mail as spam';
comment on column recipients.conversions is 'Their conversions, with or without an e-mail before';
comment on column recipients.revenue is 'Revenue of these less refunds, in the reporting currency';
comment on column recipients.attributed_revenue is 'Revenue of these that the default model credits to e-mails, less refunds';
