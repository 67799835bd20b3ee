-- People by the week of their first delivery: what they did in each week from then on.
--
-- Reads  judged_events, stale_buyers, old_recipients, renewed_recipients; by index stored recipients, conversions
--        and weeks of people with changes; in another time zone, all stored events and conversions.
-- Writes stored_activity, stored_cohorts, the first deliveries in stored_list_days.
-- Cost   follows the people whose events, conversions or first delivery changed.
--
-- A week is a number: 0 begins on Monday, 1970-01-05.
create temporary table activity_changes on commit drop as
with happened as (
    select
        person,
        "timestamp",
        event,
        actor,
        1 as sign
    from judged_events
    where
        (place is null or (old_person, old_actor) is distinct from (person, actor))
        and (select not dates_again from this_refresh)
    union all
    select
        old_person,
        "timestamp",
        event,
        old_actor,
        -1
    from judged_events
    where
        place is not null
        and (old_person, old_actor) is distinct from (person, actor)
        and (select not dates_again from this_refresh)
    union all
    select
        person,
        "timestamp",
        event,
        actor,
        1
    from stored_events
    where (select dates_again from this_refresh)
),

-- Conversions of these people are counted again.
converted as (
    select
        stored.person,
        stored.converted_at,
        1 as sign
    from stale_buyers as stale
    inner join stored_conversions as stored on stale.person = stored.person
    where
        stored.is_counted
        and not stored.is_refund
        and isfinite(stored.converted_at)
        and (select not dates_again from this_refresh)
    union all
    select
        person,
        converted_at,
        1
    from stored_conversions
    where
        is_counted
        and not is_refund
        and person is not null
        and isfinite(converted_at)
        and (select dates_again from this_refresh)
),

counted as (
    select
        happened.person,
        floor(((happened."timestamp" at time zone settings.value)::date - date '1970-01-05') / 7.0)::int as week,
        case when happened.event = 'o' then happened.sign else 0 end as opens,
        case when happened.event = 'c' then happened.sign else 0 end as clicks,
        case when happened.event = 'u' then happened.sign else 0 end as unsubscribes,
        0 as conversions
    from happened
    inner join settings on settings.name = 'reporting_time_zone'
    where happened.event = 'u' or (happened.event in ('o', 'c') and happened.actor = 'h')
    union all
    select
        converted.person,
        floor(((converted.converted_at at time zone settings.value)::date - date '1970-01-05') / 7.0)::int,
        0,
        0,
        0,
        converted.sign
    from converted
    inner join settings on settings.name = 'reporting_time_zone'
    union all
    select
        stored.person,
        stored.week,
        0,
        0,
        0,
        -stored.conversions
    from stale_buyers as stale
    inner join stored_activity as stored on stale.person = stored.person
    where stored.conversions > 0 and (select not dates_again from this_refresh)
)

select
    person,
    week,
    sum(opens) as opens,
    sum(clicks) as clicks,
    sum(unsubscribes) as unsubscribes,
    sum(conversions) as conversions
from counted
group by person, week
having
    sum(opens) <> 0 or sum(clicks) <> 0 or sum(unsubscribes) <> 0 or sum(conversions) <> 0;

analyze activity_changes;

delete from stored_activity
where (select dates_again from this_refresh);

delete from stored_cohorts
where (select dates_again from this_refresh);

-- The first delivery of people, before and after.
create temporary table first_deliveries on commit drop as
with old as (
    select
        person,
        first_delivered_at
    from old_recipients
    where (select not dates_again from this_refresh)
),

days as (
    select
        coalesce(old.person, new.person) as person,
        (old.first_delivered_at at time zone settings.value)::date as old_day,
        (new.first_delivered_at at time zone settings.value)::date as day
    from old
    full join renewed_recipients as new on old.person = new.person
    inner join settings on settings.name = 'reporting_time_zone'
)

select
    person,
    old_day,
    day
from days
where old_day is distinct from day;

insert into stored_list_days as stored (day, first_deliveries, unsubscribed, complained, bounced)
select
    days.day,
    sum(days.people) as first_deliveries,
    0 as unsubscribed,
    0 as complained,
    0 as bounced
from (
    select
        day,
        1 as people
    from first_deliveries
    union all
    select
        old_day,
        -1
    from first_deliveries
) as days
where days.day is not null
group by days.day
on conflict (day) do update set first_deliveries = stored.first_deliveries + excluded.first_deliveries;

delete from stored_list_days
where (first_deliveries, unsubscribed, complained, bounced) = (0, 0, 0, 0);

-- Who belongs to another cohort than before.
create temporary table moved_people on commit drop as
select
    person,
    floor((old_day - date '1970-01-05') / 7.0)::int as old_cohort,
    floor((day - date '1970-01-05') / 7.0)::int as cohort
from first_deliveries
where
    floor((old_day - date '1970-01-05') / 7.0)
    is distinct from floor((day - date '1970-01-05') / 7.0);

analyze moved_people;

-- Weeks that changed, and all weeks of these people, before and after.
create temporary table stale_activity on commit drop as
with others as (
    select stored.*
    from moved_people as moved
    inner join stored_activity as stored on moved.person = stored.person
    left join activity_changes as changes on stored.person = changes.person and stored.week = changes.week
    where changes.person is null
)

select
    changes.person,
    changes.week,
    coalesce(stored.opens, 0) as old_opens,
    coalesce(stored.clicks, 0) as old_clicks,
    coalesce(stored.unsubscribes, 0) as old_unsubscribes,
    coalesce(stored.conversions, 0) as old_conversions,
    (coalesce(stored.opens, 0) + changes.opens)::int as opens,
    (coalesce(stored.clicks, 0) + changes.clicks)::int as clicks,
    (coalesce(stored.unsubscribes, 0) + changes.unsubscribes)::int as unsubscribes,
    (coalesce(stored.conversions, 0) + changes.conversions)::int as conversions,
    stored.person is null as is_new
from activity_changes as changes
left join stored_activity as stored on changes.person = stored.person and changes.week = stored.week
union all
select
    person, week, opens, clicks, unsubscribes, conversions, opens, clicks, unsubscribes, conversions, false
from others;

analyze stale_activity;

update stored_activity as stored set
    opens = stale.opens,
    clicks = stale.clicks,
    unsubscribes = stale.unsubscribes,
    conversions = stale.conversions
from stale_activity as stale
where
    stored.person = stale.person
    and stored.week = stale.week
    and (stored.opens, stored.clicks, stored.unsubscribes, stored.conversions)
    <> (stale.opens, stale.clicks, stale.unsubscribes, stale.conversions);

delete from stored_activity as stored
using stale_activity as stale
where
    stored.person = stale.person
    and stored.week = stale.week
    and (stale.opens, stale.clicks, stale.unsubscribes, stale.conversions) = (0, 0, 0, 0);

insert into stored_activity (person, week, opens, clicks, unsubscribes, conversions)
select
    person,
    week,
    opens,
    clicks,
    unsubscribes,
    conversions
from stale_activity
where is_new;

-- Whose cohort is the same have it from their first delivery.
create temporary table cohort_changes on commit drop as
with known as (
    select
        stale.*,
        moved.person is not null as has_moved,
        moved.old_cohort,
        moved.cohort,
        (stored.first_delivered_at at time zone settings.value)::date - date '1970-01-05' as first_day
    from stale_activity as stale
    inner join settings on settings.name = 'reporting_time_zone'
    left join moved_people as moved on stale.person = moved.person
    left join stored_recipients as stored on stale.person = stored.person
),

placed as (
    select
        week, old_opens, old_clicks, old_unsubscribes, old_conversions, opens, clicks, unsubscribes, conversions,
        case when has_moved then old_cohort else floor(first_day / 7.0)::int end as old_cohort,
        case when has_moved then cohort else floor(first_day / 7.0)::int end as cohort
    from known
),

changed as (
    select
        cohort,
        week - cohort as weeks_since,
        0 as people,
        (opens + clicks > 0)::int as active,
        (clicks > 0)::int as clicked,
        (conversions > 0)::int as converted,
        (unsubscribes > 0)::int as unsubscribed
    from placed
    where cohort <= week
    union all
    select
        old_cohort,
        week - old_cohort,
        0,
        -(old_opens + old_clicks > 0)::int,
        -(old_clicks > 0)::int,
        -(old_conversions > 0)::int,
        -(old_unsubscribes > 0)::int
    from placed
    where old_cohort <= week
    union all
    select
        cohort, 0, 1, 0, 0, 0, 0
    from moved_people
    where cohort is not null
    union all
    select
        old_cohort, 0, -1, 0, 0, 0, 0
    from moved_people
    where old_cohort is not null
)

select
    cohort as cohort_week,
    weeks_since,
    sum(people) as people,
    sum(active) as active,
    sum(clicked) as clicked,
    sum(converted) as converted,
    sum(unsubscribed) as unsubscribed
from changed
group by cohort, weeks_since;

analyze cohort_changes;

insert into stored_cohorts as stored (cohort_week, weeks_since, people, active, clicked, converted, unsubscribed)
select
    cohort_week,
    weeks_since,
    people,
    active,
    clicked,
    converted,
    unsubscribed
from cohort_changes
on conflict (cohort_week, weeks_since) do update set
people = stored.people + excluded.people,
active = stored.active + excluded.active,
clicked = stored.clicked + excluded.clicked,
converted = stored.converted + excluded.converted,
unsubscribed = stored.unsubscribed + excluded.unsubscribed;

delete from stored_cohorts as stored
using cohort_changes as changes
where
    stored.cohort_week = changes.cohort_week
    and stored.weeks_since = changes.weeks_since
    and (stored.people, stored.active, stored.clicked, stored.converted, stored.unsubscribed) = (0, 0, 0, 0, 0);

drop table judged_events;
