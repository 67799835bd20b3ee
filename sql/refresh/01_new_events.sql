-- Events that have been loaded since the last refresh. A chunk's rows carry the time its transaction began, so those of
-- the hour before are looked at again: whatever was committed late is found.
set local enable_hashjoin to off;
set local enable_mergejoin to off;

create temporary table new_events on commit drop as
select recorded_events.*
from recorded_events
where
    uuid_ts >= coalesce((select loaded_until - interval '1 hour' from refreshed), '-infinity')
    and not exists (
        select 1
        from stored_events as stored
        where stored.original_timestamp = recorded_events.original_timestamp and stored.id = recorded_events.id
    )
    and not exists (
        select 1
        from stored_events as stored
        where
            recorded_events.original_timestamp is null
            and stored.original_timestamp is null
            and stored.id = recorded_events.id
    );

reset enable_hashjoin;
reset enable_mergejoin;
analyze new_events;
