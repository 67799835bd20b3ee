-- Which person has the most events of the figures, how many, and of how many.
-- One row, none without events. In a large table the candidates and the total are the planner's statistics.
with size as (
    select
        reltuples::bigint as events,
        reltuples > %(exact_events)s as is_large
    from pg_class
    where oid = to_regclass('stored_events')
),

common as (
    select common_person.person
    from pg_stats
    cross join unnest(most_common_vals::text::int[]) with ordinality as common_person (person, place)
    where
        schemaname = current_schema
        and tablename = 'stored_events'
        and attname = 'person'
        and (select is_large from size)
    order by common_person.place
    limit 3
),

largest as (
    select person
    from stored_events
    where (select not is_large from size)
    group by person
    order by count(*) desc, person
    limit 1
),

counted as (
    select
        candidates.person,
        count(*) as events
    from (
        select person from common
        union all
        select person from largest
    ) as candidates
    inner join stored_events on candidates.person = stored_events.person
    group by candidates.person
)

select
    people.name,
    counted.events,
    (select case when is_large then events else (select count(*) from stored_events) end from size) as all_events,
    (select value::numeric from {schema}.settings where name = 'max_person_share') as max_share
from counted
inner join stored_people as people on counted.person = people.person
order by counted.events desc, people.name
limit 1
