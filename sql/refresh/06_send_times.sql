-- Messages by the hour of their delivery, and by the days on which recipients were lost: sums change by what changed
-- messages are less what they were.
--
-- Reads  changed_messages; in another time zone, all stored messages.
-- Writes stored_send_times, stored_list_days; dated_messages (temporary): those of which days change.
-- Cost   follows the messages that changed.
-- In another time zone all days start again from all messages. Without rows the planner knows that there is nothing to join.
create temporary table redated_messages on commit drop as
select
    1 as sign,
    stored_messages.*
from stored_messages
where (select dates_again from this_refresh);

analyze redated_messages;

create temporary view dated_messages as
select *
from changed_messages
where (select not dates_again from this_refresh)
union all
select *
from redated_messages;

create temporary table send_time_changes on commit drop as
with hours as (
    select
        dated_messages.mailing,
        date_trunc('hour', dated_messages.delivered_at at time zone settings.value) as delivery_hour,
        sum(sign) as delivered,
        sum(sign) filter (where opened_at is not null) as opened,
        sum(sign) filter (where human_opened_at is not null) as human_opened,
        sum(sign) filter (where clicked_at is not null) as clicked,
        sum(sign) filter (where human_clicked_at is not null) as human_clicked,
        sum(sign) filter (where unsubscribed_at is not null) as unsubscribed
    from dated_messages
    inner join settings on settings.name = 'reporting_time_zone'
    where dated_messages.delivered_at is not null
    group by dated_messages.mailing, date_trunc('hour', dated_messages.delivered_at at time zone settings.value)
)

select
    mailings.campaign,
    hours.delivery_hour::date as delivery_day,
    extract(hour from hours.delivery_hour)::smallint as delivery_hour,
    sum(hours.delivered) as delivered,
    coalesce(sum(hours.opened), 0) as opened,
    coalesce(sum(hours.human_opened), 0) as human_opened,
    coalesce(sum(hours.clicked), 0) as clicked,
    coalesce(sum(hours.human_clicked), 0) as human_clicked,
    coalesce(sum(hours.unsubscribed), 0) as unsubscribed
from hours
inner join stored_mailings as mailings on hours.mailing = mailings.mailing
group by mailings.campaign, hours.delivery_hour;

analyze send_time_changes;

delete from stored_send_times
where (select dates_again from this_refresh);

insert into stored_send_times as stored (
    campaign, delivery_day, delivery_hour, delivered, opened, human_opened, clicked, human_clicked, unsubscribed
)
select
    campaign,
    delivery_day,
    delivery_hour,
    delivered,
    opened,
    human_opened,
    clicked,
    human_clicked,
    unsubscribed
from send_time_changes
on conflict (campaign, delivery_day, delivery_hour) do update set
delivered = stored.delivered + excluded.delivered,
opened = stored.opened + excluded.opened,
human_opened = stored.human_opened + excluded.human_opened,
clicked = stored.clicked + excluded.clicked,
human_clicked = stored.human_clicked + excluded.human_clicked,
unsubscribed = stored.unsubscribed + excluded.unsubscribed;

delete from stored_send_times as stored
using send_time_changes as changes
where
    stored.campaign = changes.campaign
    and stored.delivery_day = changes.delivery_day
    and stored.delivery_hour = changes.delivery_hour
    and stored.delivered = 0;

-- What is lost counts on the day on which it happened, whenever the message was delivered.
delete from stored_list_days
where (select dates_again from this_refresh);

create temporary table list_changes on commit drop as
select
    (losses.lost_at at time zone settings.value)::date as day,
    coalesce(sum(messages.sign) filter (where losses.loss = 'u'), 0) as unsubscribed,
    coalesce(sum(messages.sign) filter (where losses.loss = 's'), 0) as complained,
    coalesce(sum(messages.sign) filter (where losses.loss = 'b'), 0) as bounced
from dated_messages as messages
inner join settings on settings.name = 'reporting_time_zone'
cross join lateral (
    values
    ('u', messages.unsubscribed_at),
    ('s', messages.complained_at),
    ('b', messages.bounced_at)
) as losses (loss, lost_at)
where
    coalesce(messages.unsubscribed_at, messages.complained_at, messages.bounced_at) is not null
    and losses.lost_at is not null
group by (losses.lost_at at time zone settings.value)::date;

insert into stored_list_days as stored (day, first_deliveries, unsubscribed, complained, bounced)
select
    day,
    0 as first_deliveries,
    unsubscribed,
    complained,
    bounced
from list_changes
on conflict (day) do update set
unsubscribed = stored.unsubscribed + excluded.unsubscribed,
complained = stored.complained + excluded.complained,
bounced = stored.bounced + excluded.bounced;
