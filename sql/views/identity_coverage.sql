-- One row per way in which the person of an e-mail event was found.
create or replace view identity_coverage as
with ways as (
    select
        ways.place,
        ways.matched_by
    from (values (1, 'user_id'), (2, 'email'), (3, 'ambiguous'), (4, 'none')) as ways (place, matched_by)
),

counted as (
    select
        matched_by,
        count(*) as events,
        count(distinct person) as people
    from email_events
    group by matched_by
)

select
    ways.matched_by,
    coalesce(counted.events, 0) as events,
    coalesce(counted.people, 0) as people,
    round(coalesce(counted.events, 0) / nullif(sum(counted.events) over (), 0), 4) as share_of_events
from ways
left join counted on ways.matched_by = counted.matched_by
order by ways.place;

comment on view identity_coverage is 'One row per way in which the person of an e-mail event was found';
comment on column identity_coverage.matched_by is 'user_id: it was sent; email: the address belongs to a user; ambiguous: it belongs to several users alike; none: to no known user';
comment on column identity_coverage.events is 'E-mail events';
comment on column identity_coverage.people is 'People they are about';
comment on column identity_coverage.share_of_events is 'events ÷ all e-mail events';
