-- One row per domain of the recipients' addresses: deliveries, bounces, opens and complaints.
--
-- A message without an address counts for the address of its person's latest delivery.
create or replace view mailbox_domains as
with addresses as (
    select
        coalesce(stored.address, recipients.address) as address,
        count(*) filter (where stored.delivered_at is not null or stored.bounced_at is not null) as attempted,
        count(stored.delivered_at) as delivered,
        count(stored.delivered_at) filter (where stored.bounced_at is null) as arrived,
        count(stored.bounced_at) as bounced,
        count(stored.delivered_at) filter (where stored.opened_at is not null) as opened,
        count(stored.delivered_at) filter (where stored.human_opened_at is not null) as human_opened,
        count(stored.delivered_at) filter (where stored.complained_at is not null) as complained
    from stored_messages as stored
    inner join stored_recipients as recipients on stored.person = recipients.person
    group by coalesce(stored.address, recipients.address)
),

counted as (
    select
        nullif(split_part(people.name, '@', -1), '') as mailbox_domain,
        sum(addresses.attempted)::bigint as attempted,
        sum(addresses.delivered)::bigint as delivered,
        sum(addresses.arrived)::bigint as arrived,
        sum(addresses.bounced)::bigint as bounced,
        sum(addresses.opened)::bigint as opened,
        sum(addresses.human_opened)::bigint as human_opened,
        sum(addresses.complained)::bigint as complained
    from addresses
    left join stored_people as people on addresses.address = people.person
    group by nullif(split_part(people.name, '@', -1), '')
)

select
    mailbox_domain,
    attempted,
    delivered,
    bounced,
    opened,
    human_opened,
    complained,
    round(arrived::numeric / nullif(attempted, 0), 4) as delivery_rate,
    round(bounced::numeric / nullif(attempted, 0), 4) as bounce_rate,
    round(opened::numeric / nullif(delivered, 0), 4) as open_rate,
    round(human_opened::numeric / nullif(delivered, 0), 4) as human_open_rate,
    round(complained::numeric / nullif(delivered, 0), 4) as complaint_rate
from counted;

comment on view mailbox_domains is 'One row per domain of the recipients'' addresses: deliveries, bounces, opens and complaints';
comment on column mailbox_domains.mailbox_domain is 'The domain; null where no address of the person is known';
comment on column mailbox_domains.attempted is 'Messages that were delivered or bounced';
comment on column mailbox_domains.delivered is 'Messages that were delivered';
comment on column mailbox_domains.bounced is 'Messages that bounced, at once or after a delivery';
comment on column mailbox_domains.opened is 'Delivered messages that were opened, by people or machines';
comment on column mailbox_domains.human_opened is 'Delivered messages that a person opened';
comment on column mailbox_domains.complained is 'Delivered messages that the recipient marked as spam';
comment on column mailbox_domains.delivery_rate is 'Messages delivered and not bounced ÷ attempted';
comment on column mailbox_domains.bounce_rate is 'bounced ÷ attempted';
comment on column mailbox_domains.open_rate is 'opened ÷ delivered';
comment on column mailbox_domains.human_open_rate is 'human_opened ÷ delivered';
comment on column mailbox_domains.complaint_rate is 'complained ÷ delivered';
