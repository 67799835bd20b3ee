-- Which user ids and addresses name one person: in events, also in those that no refresh has read, and on the site.
-- A table of the session, one row per pair; a user id that is an address is a pair with itself.
create temporary table if not exists identity_pairs (user_id text, address text);

truncate identity_pairs;

insert into identity_pairs (user_id, address)
with sent as materialized (
    select
        user_id,
        anonymous_id,
        context_traits_email
    from {tracks}
    group by user_id, anonymous_id, context_traits_email
),

known as (
    select
        sent.user_id,
        address.address
    from sent
    cross join placeholders
    cross join lateral (
        values
        (normalize_address(sent.user_id)),
        (normalize_address(sent.anonymous_id)),
        (normalize_address(sent.context_traits_email))
    ) as address (address)
    where
        lower(trim_blanks(sent.user_id)) <> all(placeholders.names)
        and address.address <> all(placeholders.names)
)

select
    user_id,
    address
from known
union
select
    owners.name,
    addresses.name
from stored_identifications as stored
inner join stored_people as owners on stored.owner = owners.person
inner join stored_people as addresses on stored.address = addresses.person
where owners.name <> addresses.name;

create index if not exists identity_pairs_user_id_idx on identity_pairs (user_id);
create index if not exists identity_pairs_address_idx on identity_pairs (address);
analyze identity_pairs;
