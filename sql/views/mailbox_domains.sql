-- One row per domain of the recipients' addresses: deliveries, bounces, opens and complaints.
--
-- A message without an address counts for the address of its person's latest delivery.
create or replace view mailbox_domains as
with counted as (
    select
        nullif(stored_mailbox_days.mailbox_domain, '') as mailbox_domain,
        sum(stored_mailbox_days.attempted)::bigint as attempted,
        sum(stored_mailbox_days.delivered)::bigint as delivered,
        sum(stored_mailbox_days.arrived)::bigint as arrived,
        sum(stored_mailbox_days.bounced)::bigint as bounced,
        sum(stored_mailbox_days.opened)::bigint as opened,
        sum(stored_mailbox_days.human_opened)::bigint as human_opened,
        sum(stored_mailbox_days.complained)::bigint as complained
    from stored_mailbox_days
    group by stored_mailbox_days.mailbox_domain
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
    round(complained::numeric / nullif(delivered, 0), 4) as complaint_rate,
    arrived
from counted;

comment on view mailbox_domains is 'One row per domain of the recipients'' addresses: deliveries, bounces, opens and complaints';
comment on column mailbox_domains.mailbox_domain is 'The domain; null where no address of the person is known';
comment on column mailbox_domains.attempted is 'Messages that were delivered or bounced';
comment on column mailbox_domains.delivered is 'Messages that were delivered';
comment on column mailbox_domains.bounced is 'Messages that bounced, at once or after a delivery';
comment on column mailbox_domains.opened is 'Delivered messages that were opened, by people or machines';
comment on column mailbox_domains.human_opened is 'Delivered messages that a person opened';
comment on column mailbox_domains.complained is 'Delivered messages that the recipient marked as spam';
comment on column mailbox_domains.delivery_rate is 'Messages delivered and not bounced ÷ attempted; over several domains: sum(arrived) / sum(attempted)';
comment on column mailbox_domains.bounce_rate is 'bounced ÷ attempted; over several domains: sum(bounced) / sum(attempted)';
comment on column mailbox_domains.open_rate is 'opened ÷ delivered; over several domains: sum(opened) / sum(delivered)';
comment on column mailbox_domains.human_open_rate is 'human_opened ÷ delivered; over several domains: sum(human_opened) / sum(delivered)';
comment on column mailbox_domains.complaint_rate is 'complained ÷ delivered; over several domains: sum(complained) / sum(delivered)';
comment on column mailbox_domains.arrived is 'Messages delivered and not bounced';
