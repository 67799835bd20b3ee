-- One row per campaign, day and hour of delivery, in the time zone of the setting reporting_time_zone: what became of the
-- messages that were delivered then, whenever that was.
create or replace view send_times as
select
    campaign_names.campaign_id,
    campaign_names.campaign_name,
    stored.delivery_day,
    extract(isodow from stored.delivery_day)::int as weekday,
    (array['Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday', 'Sunday'])[
        extract(isodow from stored.delivery_day)::int
    ] as weekday_name,
    stored.delivery_hour::int as delivery_hour,
    stored.delivered,
    stored.opened,
    stored.human_opened,
    stored.clicked,
    stored.human_clicked,
    stored.unsubscribed
from stored_send_times as stored
inner join campaign_names on stored.campaign = campaign_names.campaign;

comment on view send_times is 'One row per campaign, day and hour of delivery: what became of the messages; all figures add up';
comment on column send_times.campaign_id is 'The campaign; empty for e-mails without one';
comment on column send_times.campaign_name is 'Its latest name';
comment on column send_times.delivery_day is 'Day of the delivery, in the reporting time zone';
comment on column send_times.weekday is 'Its weekday: 1 Monday, 7 Sunday';
comment on column send_times.weekday_name is 'Its weekday in English; sort by weekday';
comment on column send_times.delivery_hour is 'Hour of the delivery, 0 to 23, in the reporting time zone';
comment on column send_times.delivered is 'Messages that were delivered in this hour';
comment on column send_times.opened is 'Those that were opened, by people or machines, whenever that was';
comment on column send_times.human_opened is 'Those that a person opened; open rate: sum(human_opened) / sum(delivered)';
comment on column send_times.clicked is 'Those that were clicked, by people or machines';
comment on column send_times.human_clicked is 'Those that a person clicked; click rate: sum(human_clicked) / sum(delivered)';
comment on column send_times.unsubscribed is 'Those by which the recipient unsubscribed';
