-- Whether others than loads have added or deleted events.
with counted as materialized (
    select
        uuid_ts,
        count(*) as events
    from {tracks}
    group by uuid_ts
)

select count(*) > 0 as have_changed
from counted
full join chunks on counted.uuid_ts = chunks.uuid_ts
where counted.events is distinct from chunks.events
