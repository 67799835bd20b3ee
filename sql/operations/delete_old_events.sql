-- Note a batch of events that are too old in the session's table old_keys, whichever are found first, and delete their
-- discarded values. The ledger's chunks keep the number of events that they still have.
create temporary table if not exists old_keys (
    event text, original_timestamp timestamptz, id text, uuid_ts timestamptz
);

truncate old_keys;

insert into old_keys (event, original_timestamp, id, uuid_ts)
select
    event,
    original_timestamp,
    id,
    uuid_ts
from {tracks}
where "timestamp" < now() - interval '{kept_for}'
limit {batch}; -- noqa: AM09

analyze old_keys;

delete from discarded_values as stored using old_keys as keys
where stored.event_id = keys.id and stored.original_timestamp is not distinct from keys.original_timestamp;

update chunks set events = chunks.events - gone.events
from (
    select
        uuid_ts,
        count(*) as events
    from old_keys
    group by uuid_ts
) as gone
where chunks.uuid_ts = gone.uuid_ts;

delete from chunks
where events = 0 and uuid_ts in (select uuid_ts from old_keys);
