-- One row per mailbox domain and day of delivery, else of the bounce, in the time zone of the setting
-- reporting_time_zone.
create or replace view mailbox_domain_days as
select
    nullif(mailbox_domain, '') as mailbox_domain,
    delivery_day,
    attempted,
    delivered,
    arrived,
    bounced,
    opened,
    human_opened,
    clicked,
    human_clicked,
    unsubscribed,
    complained
from stored_mailbox_days
where attempted > 0;

comment on view mailbox_domain_days is 'One row per mailbox domain and day of delivery: deliveries, bounces, opens and complaints; all figures add up';
comment on column mailbox_domain_days.mailbox_domain is 'The domain of the recipients'' addresses; null where no address of the person is known';
comment on column mailbox_domain_days.delivery_day is 'Day of the delivery, else of the bounce, in the reporting time zone';
comment on column mailbox_domain_days.attempted is 'Messages that were delivered or bounced';
comment on column mailbox_domain_days.delivered is 'Messages that were delivered';
comment on column mailbox_domain_days.arrived is 'Messages delivered and not bounced; delivery rate: sum(arrived) / sum(attempted)';
comment on column mailbox_domain_days.bounced is 'Messages that bounced, at once or after a delivery; bounce rate: sum(bounced) / sum(attempted)';
comment on column mailbox_domain_days.opened is 'Delivered messages that were opened, by people or machines, whenever that was';
comment on column mailbox_domain_days.human_opened is 'Delivered messages that a person opened';
comment on column mailbox_domain_days.clicked is 'Delivered messages that were clicked, by people or machines';
comment on column mailbox_domain_days.human_clicked is 'Delivered messages that a person clicked';
comment on column mailbox_domain_days.unsubscribed is 'Delivered messages by which the recipient unsubscribed';
comment on column mailbox_domain_days.complained is 'Delivered messages that the recipient marked as spam; complaint rate: sum(complained) / sum(delivered)';
