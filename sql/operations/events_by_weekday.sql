-- How many events a day had, and the same weekday in the weeks before it, in the reporting time zone.
-- One row per day, the oldest first; the last is the day of the newest event, or yesterday if that is earlier.
select
    day::date,
    (
        select count(*)
        from {table}
        where original_timestamp >= day at time zone zone
            and original_timestamp < (day + interval '1 day') at time zone zone
    ) as events
from (select value as zone from {settings} where name = 'reporting_time_zone') as setting
cross join lateral (
    select least(
        date_trunc('day', now() at time zone zone) - interval '1 day',
        date_trunc('day', %(newest)s::timestamptz at time zone zone)
    ) as last_day
) as judged
cross join lateral generate_series(last_day - make_interval(weeks => %(weeks)s), last_day, interval '7 days') as day
order by day
