-- One row per week of the first delivery and week since: what the people of that week did, up to the last week with any.
--
-- Weeks begin on Monday, in the time zone of the setting reporting_time_zone. A week after the present one, of a wrong
-- clock, is left out.
create or replace view cohorts as
with weeks as (
    select least(max(cohort_week + weeks_since), floor((now()::date - date '1970-01-05') / 7.0)::int) as last_week
    from stored_cohorts
),

sizes as (
    select
        cohort_week,
        people
    from stored_cohorts
    where weeks_since = 0 and people > 0
)

select
    date '1970-01-05' + sizes.cohort_week * 7 as cohort_week,
    since.weeks_since,
    sizes.people,
    coalesce(stored.active, 0) as active,
    coalesce(stored.clicked, 0) as clicked,
    coalesce(stored.converted, 0) as converted,
    coalesce(stored.unsubscribed, 0) as unsubscribed
from sizes
cross join weeks
cross join lateral generate_series(0, greatest(weeks.last_week - sizes.cohort_week, 0)) as since (weeks_since)
left join stored_cohorts as stored
    on sizes.cohort_week = stored.cohort_week and since.weeks_since = stored.weeks_since;

comment on view cohorts is 'One row per week of the first delivery and week since: what the people of that week did';
comment on column cohorts.cohort_week is 'Monday of the week of the people''s first delivery, in the reporting time zone';
comment on column cohorts.weeks_since is 'Weeks from that week on, from 0';
comment on column cohorts.people is 'People of the cohort; the same in each of its rows: do not add up over weeks_since';
comment on column cohorts.active is 'People who opened or clicked in that week, machines excluded; share: sum(active) / sum(people) of one weeks_since';
comment on column cohorts.clicked is 'People who clicked in that week; share: sum(clicked) / sum(people) of one weeks_since';
comment on column cohorts.converted is 'People with a conversion in that week, with or without an e-mail before; share: sum(converted) / sum(people) of one weeks_since';
comment on column cohorts.unsubscribed is 'People who unsubscribed in that week; share: sum(unsubscribed) / sum(people) of one weeks_since';
