-- One row per way in which the person of an e-mail event was found.
create or replace view identity_coverage as
with ways as (
    select
        ways.place,
        ways.matched_by,
        ways.code
    from (
        values (1, 'user_id', 'u'), (2, 'email', 'e'), (3, 'ambiguous', 'a'), (4, 'none', 'n'), (5, 'placeholder', 'p')
    ) as ways (place, matched_by, code)
),

identities as (
    select
        identity,
        count(*) as events
    from stored_events
    group by identity
),

counted as (
    select
        stored.matched_by,
        sum(identities.events)::bigint as events,
        count(distinct stored.person) as people
    from identities
    inner join stored_identities as stored on identities.identity = stored.identity
    group by stored.matched_by
)

select
    ways.matched_by,
    coalesce(counted.events, 0) as events,
    coalesce(counted.people, 0) as people,
    round(coalesce(counted.events, 0) / nullif(sum(counted.events) over (), 0), 4) as share_of_events
from ways
left join counted on counted.matched_by = ways.code::"char"
order by ways.place;

comment on view identity_coverage is 'One row per way in which the person of an e-mail event was found';
comment on column identity_coverage.matched_by is 'user_id: it was sent; email: the address belongs to a user; ambiguous: it belongs to several users alike; none: to no known user; placeholder: the user id is one, and the address, if any, counts';
comment on column identity_coverage.events is 'E-mail events';
comment on column identity_coverage.people is 'People they are about; one person may be found in several ways: do not add up';
comment on column identity_coverage.share_of_events is 'events ÷ all e-mail events; adds up over all rows';
