-- Conversions of the site that are new, changed or gone, and of several with one order the earliest, which counts.
--
-- Reads  conversion_rows, changed_browsers.
-- Writes stored_conversions; stale_conversions, conversion_people (temporary): whose credits are computed again.
-- Cost   follows the conversions of the days with changes.
create temporary table conversion_changes on commit drop as
with found as (
    select
        sources.source,
        rows.recorded_day,
        buyers.person as buyer,
        case when rows.user_id is null then stored_browsers.browser end as browser,
        rows."timestamp" as converted_at,
        rows.revenue,
        rows.currency,
        rows.id,
        rows.order_id,
        1 as number_of_rows
    from conversion_rows as rows
    inner join stored_sources as sources
        on sources.kind = 'conversions'
        and rows.schema_name = sources.schema_name
        and rows.table_name = sources.table_name
    left join stored_people as buyers on rows.user_id = buyers.name
    left join stored_browsers on rows.anonymous_id = stored_browsers.anonymous_id
    union all
    select
        stored.source,
        stored.recorded_day,
        stored.buyer,
        stored.browser,
        stored.converted_at,
        stored.revenue,
        stored.currency,
        stored.id,
        stored.order_id,
        -1
    from stored_conversions as stored
    inner join compared_days as days on stored.source = days.source and stored.recorded_day = days.recorded_day
)

select
    source,
    recorded_day,
    buyer,
    browser,
    converted_at,
    revenue,
    currency,
    id,
    order_id,
    sum(number_of_rows) as number_of_rows
from found
group by source, recorded_day, buyer, browser, converted_at, revenue, currency, id, order_id
having sum(number_of_rows) <> 0;

create temporary table stale_conversions (conversion int, order_key text, person int) on commit drop;

with gone as (
    delete from stored_conversions
    where ctid in (
        select numbered.place
        from (
            select
                stored.ctid as place,
                gone.number_of_rows,
                row_number() over (
                    partition by
                        stored.source, stored.recorded_day, stored.buyer, stored.browser, stored.converted_at,
                        stored.revenue, stored.currency, stored.id, stored.order_id
                    order by stored.conversion desc
                ) as number_of_row
            from stored_conversions as stored
            inner join conversion_changes as gone
                on stored.source = gone.source and stored.recorded_day = gone.recorded_day
            where
                gone.number_of_rows < 0
                and (
                    stored.buyer, stored.browser, stored.converted_at, stored.revenue, stored.currency, stored.id,
                    stored.order_id
                )
                is not distinct from (
                    gone.buyer, gone.browser, gone.converted_at, gone.revenue, gone.currency, gone.id, gone.order_id
                )
        ) as numbered
        where numbered.number_of_row <= -numbered.number_of_rows
    )
    returning conversion, order_key, person
)

insert into stale_conversions
select
    conversion,
    order_key,
    person
from gone;

with new as (
    insert into stored_conversions (
        source, recorded_day, buyer, browser, person, converted_at, revenue, currency, id, order_id, order_key,
        is_counted
    )
    select
        changes.source,
        changes.recorded_day,
        changes.buyer,
        changes.browser,
        coalesce(changes.buyer, browsers.person) as person,
        changes.converted_at,
        changes.revenue,
        changes.currency,
        changes.id,
        changes.order_id,
        coalesce(
            changes.order_id, sources.schema_name || '/' || sources.table_name || '/' || changes.id, ''
        ) as order_key,
        false as is_counted
    from conversion_changes as changes
    cross join generate_series(1, changes.number_of_rows)
    inner join stored_sources as sources on changes.source = sources.source
    left join stored_browsers as browsers on changes.browser = browsers.browser
    returning conversion, order_key, person
)

insert into stale_conversions
select
    conversion,
    order_key,
    person
from new;

analyze stale_conversions;

with ranked as (
    select
        stored.conversion,
        row_number() over (
            partition by stored.order_key
            order by stored.converted_at, sources.schema_name, sources.table_name, stored.id, stored.conversion
        ) = 1 as is_counted
    from (select distinct order_key from stale_conversions) as stale
    inner join stored_conversions as stored on stale.order_key = stored.order_key
    inner join stored_sources as sources on stored.source = sources.source
),

changed as (
    update stored_conversions as stored set is_counted = ranked.is_counted
    from ranked
    where stored.conversion = ranked.conversion and stored.is_counted <> ranked.is_counted
    returning stored.conversion, stored.order_key, stored.person
)

insert into stale_conversions
select
    conversion,
    order_key,
    person
from changed;

-- Those of browsers that are somebody else's now: old and new person.
insert into stale_conversions
select
    stored.conversion,
    null as order_key,
    unnest(array[changed.old_person, changed.person]) as person
from changed_browsers as changed
inner join stored_conversions as stored on changed.browser = stored.browser;

update stored_conversions as stored set person = changed.person
from changed_browsers as changed
where changed.browser = stored.browser;

-- Whose figures of conversions change: whoever has a stale one.
create temporary table conversion_people on commit drop as
select distinct person
from stale_conversions
where person is not null;
