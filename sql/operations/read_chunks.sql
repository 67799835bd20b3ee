-- Make the ledger's chunks those that tracks has now, none of them taken. A chunk that was not known before stays, since
-- the workers of a cluster may not show its rows yet.
with counted as (
    select
        uuid_ts,
        count(*) as events
    from {tracks}
    group by uuid_ts
),

gone as (
    delete from chunks
    where
        uuid_ts in (select uuid_ts from known_chunks)
        and uuid_ts not in (select uuid_ts from counted)
)

insert into chunks (uuid_ts, events)
select
    uuid_ts,
    events
from counted
on conflict (uuid_ts) do update set
events = excluded.events,
is_taken = false,
"position" = case when chunks.events = excluded.events then chunks."position" end
