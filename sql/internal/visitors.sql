-- One row per anonymous id of a browser: the person who identified with it last.
create or replace view visitors as
with identified as (
    select
        site_identifies.anonymous_id,
        coalesce(site_identifies.user_id, identities.user_id, site_identifies.email) as person,
        site_identifies."timestamp"
    from site_identifies
    left join identities on site_identifies.email = identities.email
    where site_identifies.anonymous_id is not null
)

select distinct on (anonymous_id)
    anonymous_id,
    person
from identified
where person is not null
order by anonymous_id, "timestamp" desc, person;

comment on view visitors is 'One row per anonymous id of a browser: the person who identified with it last';
