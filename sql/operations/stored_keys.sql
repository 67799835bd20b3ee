-- Which keys of a chunk are stored, and as which event; by the time-ordered key alone, however large the table.
-- One row per stored key: its place among the keys that were asked for, from 0.
with sought as (
    select *
    from unnest(%(times)s::timestamptz[], %(ids)s::text[]) with ordinality as sought (original_timestamp, id, place)
)

select sought.place - 1 as place, stored.event
from sought
inner join {tracks} as stored on sought.original_timestamp = stored.original_timestamp and sought.id = stored.id
union all
select sought.place - 1, stored.event
from sought
inner join {tracks} as stored on stored.original_timestamp is null and sought.id = stored.id
where sought.original_timestamp is null
