-- Visits of the site that are new, changed or gone.
--
-- Reads  visit_rows; the stored visits of the days with changes, by index.
-- Writes stored_visits; visit_changes (temporary).
-- Cost   follows the visits of the days with changes.

create temporary view read_visits as
select
    sources.source,
    rows.recorded_day,
    people.person,
    browsers.browser,
    rows."timestamp" as visited_at
from visit_rows as rows
inner join stored_sources as sources
    on sources.kind = 'visits'
    and rows.schema_name = sources.schema_name
    and rows.table_name = sources.table_name
left join stored_people as people on rows.user_id = people.name
left join stored_browsers as browsers
    on case when rows.user_id is null then rows.anonymous_id end = browsers.anonymous_id
where rows."timestamp" is not null and coalesce(rows.user_id, rows.anonymous_id) is not null;

-- The first time there is nothing to compare with, and nobody to look for.
insert into stored_visits (visited_at, person, browser, source, recorded_day)
select
    visited_at,
    person,
    browser,
    source,
    recorded_day
from read_visits
where (select not had_events and not had_site_rows from this_refresh)
order by recorded_day;

-- Visits of the days with changes against those that are stored.
create temporary table visit_changes on commit drop as
with compared as (
    select
        read_visits.*,
        1 as number_of_rows
    from read_visits
    where (select had_events or had_site_rows from this_refresh)
    union all
    select
        stored.source,
        stored.recorded_day,
        stored.person,
        stored.browser,
        stored.visited_at,
        -1
    from stored_visits as stored
    inner join compared_days as days on stored.source = days.source and stored.recorded_day = days.recorded_day
    where days.kind = 'visits'
)

select
    source,
    recorded_day,
    person,
    browser,
    visited_at,
    sum(number_of_rows) as number_of_rows
from compared
group by source, recorded_day, person, browser, visited_at
having sum(number_of_rows) <> 0;

analyze visit_changes;

delete from stored_visits
where ctid in (
    select numbered.place
    from (
        select
            stored.ctid as place,
            gone.number_of_rows,
            row_number() over (
                partition by stored.source, stored.recorded_day, stored.person, stored.browser, stored.visited_at
            ) as number_of_row
        from stored_visits as stored
        inner join visit_changes as gone
            on stored.source = gone.source
            and stored.recorded_day = gone.recorded_day
            and stored.visited_at = gone.visited_at
        where
            gone.number_of_rows < 0
            and (stored.person, stored.browser) is not distinct from (gone.person, gone.browser)
    ) as numbered
    where numbered.number_of_row <= -numbered.number_of_rows
);

insert into stored_visits (visited_at, person, browser, source, recorded_day)
select
    visited_at,
    person,
    browser,
    source,
    recorded_day
from visit_changes
cross join generate_series(1, number_of_rows)
order by recorded_day;

drop view read_visits;
drop table visit_rows;
