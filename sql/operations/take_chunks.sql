-- Make the ledger's chunks those that were counted in tracks. A chunk that was not known before stays, since the workers
-- of a cluster may not have shown its rows yet.
with gone as (
    delete from chunks
    where
        uuid_ts in (select uuid_ts from known_chunks)
        and uuid_ts not in (select uuid_ts from new_chunks)
)

insert into chunks (uuid_ts, events)
select
    uuid_ts,
    events
from new_chunks
on conflict (uuid_ts) do update set
events = excluded.events,
"position" = case when chunks.events = excluded.events then chunks."position" end
