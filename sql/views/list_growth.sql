-- One row per day on which somebody got a first e-mail, unsubscribed, complained or could not be reached, in the time zone
-- of the setting reporting_time_zone.
create or replace view list_growth as
select
    day,
    first_deliveries,
    unsubscribed,
    complained,
    bounced
from stored_list_days;

comment on view list_growth is 'One row per day: people with their first delivery, and messages by which recipients were lost; all figures add up';
comment on column list_growth.day is 'The day on which it happened, in the reporting time zone';
comment on column list_growth.first_deliveries is 'People whose first delivery was on that day';
comment on column list_growth.unsubscribed is 'Messages by which the recipient unsubscribed on that day, delivered or not; a person may do so by several';
comment on column list_growth.complained is 'Messages that the recipient marked as spam on that day';
comment on column list_growth.bounced is 'Messages that bounced first on that day; the events do not say whether for good';
