-- One row per campaign and day of delivery, in the time zone of the setting reporting_time_zone; if the setting dimensions
-- names properties, one for each combination of their values.
--
-- All events of a message count on the day of its delivery, so that days add up. What was never delivered counts on the
-- day of its bounce, or of its first event.
create or replace view campaign_days as
select
    campaign_names.campaign_id,
    campaign_names.campaign_name,
    stored.delivery_day,
    stored.attempted,
    stored.delivered,
    stored.bounced,
    stored.opened,
    stored.human_opened,
    stored.clicked,
    stored.human_clicked,
    stored.unsubscribed,
    stored.complained,
    trim_scale(stored.conversions) as conversions,
    trim_scale(stored.revenue) as revenue,
    stored.arrived,
    stored.seen as opened_or_clicked,
    stored.human_seen as human_opened_or_clicked,
    stored.converted /* dimensions */
from stored_campaign_days as stored /* join dimensions of stored */
inner join campaign_names on stored.campaign = campaign_names.campaign;

comment on view campaign_days is 'One row per campaign and day of delivery, and for each combination of the setting dimensions; all figures add up';
comment on column campaign_days.campaign_id is 'The campaign; empty for e-mails without one';
comment on column campaign_days.campaign_name is 'Its latest name';
comment on column campaign_days.delivery_day is 'Day of the delivery, else of the bounce, else of the message''s first event, in the reporting time zone';
comment on column campaign_days.attempted is 'Messages that were delivered or bounced';
comment on column campaign_days.delivered is 'Messages that were delivered';
comment on column campaign_days.bounced is 'Messages that bounced, at once or after a delivery';
comment on column campaign_days.opened is 'Delivered messages that were opened, by people or machines, whenever that was';
comment on column campaign_days.human_opened is 'Delivered messages that a person opened';
comment on column campaign_days.clicked is 'Delivered messages that were clicked, by people or machines';
comment on column campaign_days.human_clicked is 'Delivered messages that a person clicked';
comment on column campaign_days.unsubscribed is 'Delivered messages by which the recipient unsubscribed';
comment on column campaign_days.complained is 'Delivered messages that the recipient marked as spam';
comment on column campaign_days.conversions is 'Conversions credited to these messages by the default model';
comment on column campaign_days.revenue is 'Revenue credited to these messages by the default model, less refunds, in the reporting currency';
comment on column campaign_days.arrived is 'Messages delivered and not bounced; delivery rate: sum(arrived) / sum(attempted)';
comment on column campaign_days.opened_or_clicked is 'Delivered messages that were opened or clicked, by people or machines; click to open rate: sum(clicked) / sum(opened_or_clicked)';
comment on column campaign_days.human_opened_or_clicked is 'Delivered messages that a person opened or clicked';
comment on column campaign_days.converted is 'Delivered messages with a credited conversion; conversion rate: sum(converted) / sum(delivered)';
