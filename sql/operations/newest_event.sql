-- When the newest event of a table happened, and when its newest row was loaded.
-- Reads 1,000 entries of the time-ordered key and the rows loaded last: the last pages of the table, where new rows go,
-- or those of the last chunks.
with newest as (
    (
        select "timestamp", uuid_ts
        from {table}
        where original_timestamp <= now()
        order by original_timestamp desc
        limit 1000
    )
    union all
    select "timestamp", uuid_ts
    from {table}
    where {is_recent}
)

select
    max("timestamp") filter (where "timestamp" <= now()) as newest_event,
    max(uuid_ts) as newest_load
from newest
