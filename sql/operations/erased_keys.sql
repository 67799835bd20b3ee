-- The events of people to erase, by their number, with the names of each in the session's table erased_names.
-- A table of the session, one row per event and person.
create temporary table if not exists erased_keys (
    subject int, event text, original_timestamp timestamptz, id text, uuid_ts timestamptz
);

truncate erased_keys;

insert into erased_keys (subject, event, original_timestamp, id, uuid_ts)
select distinct
    erased_names.subject,
    tracks.event,
    tracks.original_timestamp,
    tracks.id,
    tracks.uuid_ts
from {tracks} as tracks
cross join lateral (
    values
    (tracks.user_id),
    (normalize_address(tracks.user_id)),
    (coalesce(normalize_address(tracks.anonymous_id), lower(trim_blanks(tracks.anonymous_id)))),
    (coalesce(normalize_address(tracks.context_traits_email), lower(trim_blanks(tracks.context_traits_email))))
) as named (name)
inner join erased_names on named.name = erased_names.name;

create index if not exists erased_keys_subject_idx on erased_keys (subject, event);
analyze erased_keys;
