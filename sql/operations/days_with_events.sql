-- Which days of a period had events, in the reporting time zone, by the time-ordered key.
-- One row per day, the oldest first; the last is the day of the newest event.
select
    exists (
        select
        from {table}
        where original_timestamp >= day at time zone zone
            and original_timestamp < (day + interval '1 day') at time zone zone
    ) as has_events
from (select value as zone from {settings} where name = 'reporting_time_zone') as setting
cross join lateral generate_series(
    date_trunc('day', %(newest)s::timestamptz at time zone zone) - make_interval(days => %(days)s),
    date_trunc('day', %(newest)s::timestamptz at time zone zone),
    interval '1 day'
) as day
order by day
