-- How many events a distributed table had on each day, or weekday, of a period, in the reporting time zone.
-- Citus computes no subquery that depends on a row of another one, so the days are joined with the events.
-- One row per day, the oldest first; the last is the day of the newest event, or yesterday if that is earlier and only
-- complete days count.
with zones as materialized (
    select value as zone from {settings}
    where name = 'reporting_time_zone'
),

lasts as materialized (
    select
        zone,
        least(
            date_trunc('day', %(newest)s::timestamptz at time zone zone),
            case when %(is_complete)s then date_trunc('day', now() at time zone zone) - interval '1 day' end
        ) as last_day
    from zones
),

days as materialized (
    select
        day,
        day at time zone zone as begins_at,
        (day + interval '1 day') at time zone zone as ends_at
    from lasts
    cross join lateral generate_series(
        last_day - make_interval(days => %(days)s), last_day, make_interval(days => %(step)s)
    ) as day
),

counted as materialized (
    select
        days.day,
        count(*) as events
    from days
    inner join {table} as stored
        on days.begins_at <= stored.original_timestamp and days.ends_at > stored.original_timestamp
    group by days.day
)

select
    days.day::date,
    coalesce(counted.events, 0) as events
from days
left join counted on days.day = counted.day
order by days.day
