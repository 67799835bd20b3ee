-- One row per chunk of events that was loaded: its position, by which a reader finds chunks that are new to it.
--
-- A chunk gets its position from the refresh after the load, and a new one after values in its rows have changed. Whoever
-- sees a position sees all smaller ones.
create or replace view loaded_chunks as
select
    uuid_ts,
    "position",
    events
from chunks
where "position" is not null;

comment on view loaded_chunks is 'One row per chunk of loaded events: its position, for tools that read what is new';
comment on column loaded_chunks.uuid_ts is 'What all rows of the chunk have in uuid_ts, in each event table';
comment on column loaded_chunks."position" is 'Grows from refresh to refresh: a reader continues after the largest one that it has read';
comment on column loaded_chunks.events is 'Rows of the chunk in tracks';
