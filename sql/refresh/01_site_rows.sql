-- The site's rows of the days on which something has changed.
--
-- Each table is read from site_look_back before the latest row that is known, a full refresh reads all. Rows of a day on
-- which they were recorded are summed up to a number and a hash; where both are those of the last refresh, nothing has
-- been added, changed or deleted on that day, and its rows are left out. Visits follow e-mails: before the first event
-- they are not read.
--
-- Reads  the site's tables through site_visits, site_conversions and site_identifies.
-- Writes stored_sources, stored_site_days; site_days, visit_rows, conversion_rows, identify_rows (temporary).
-- Cost   follows the rows within the look-back; without an index on their cursor each table is read once.
update stored_sources set read_from = case
    when this_refresh.reads_whole_site or stored_sources.recorded_until is null then '-infinity'
    else date_trunc('day', stored_sources.recorded_until - settings.value::interval, 'UTC')
end
from this_refresh
cross join settings
where settings.name = 'site_look_back';

set local enable_seqscan to off;

create temporary table site_days on commit drop as
with found as (
    select
        'visits' as kind,
        schema_name,
        table_name,
        recorded_day,
        hash_visit(user_id, anonymous_id, "timestamp") as hash
    from site_visits
    where exists (select from stored_site_days) and (select reads_visits from this_refresh)
    union all
    select 'conversions', schema_name, table_name, recorded_day, hash_record_extended(site_conversions, 0)
    from site_conversions
    where exists (select from stored_site_days)
    union all
    select 'identifications', schema_name, table_name, recorded_day, hash_record_extended(site_identifies, 0)
    from site_identifies
    where exists (select from stored_site_days)
)

select
    kind,
    schema_name,
    table_name,
    recorded_day,
    count(*) as number_of_rows,
    sum(hash) as hash
from found
group by kind, schema_name, table_name, recorded_day;

-- Days on which the rows are not what they were; those without any row now, too.
create temporary table changed_days on commit drop as
with read as (
    select
        stored.*,
        sources.kind,
        sources.schema_name,
        sources.table_name
    from stored_site_days as stored
    inner join stored_sources as sources on stored.source = sources.source
    where stored.recorded_day >= case
        when sources.read_from = '-infinity' then -32768
        else (sources.read_from at time zone 'UTC')::date - date '1970-01-01'
    end
)

select
    coalesce(found.kind, stored.kind) as kind,
    coalesce(found.schema_name, stored.schema_name) as schema_name,
    coalesce(found.table_name, stored.table_name) as table_name,
    coalesce(found.recorded_day, stored.recorded_day) as recorded_day
from site_days as found
full join read as stored
    on found.kind = stored.kind
    and found.schema_name = stored.schema_name
    and found.table_name = stored.table_name
    and found.recorded_day = stored.recorded_day
where (found.number_of_rows, found.hash) is distinct from (stored.number_of_rows, stored.hash);

analyze changed_days;

create temporary table visit_rows on commit drop as
select
    found.*,
    hash_visit(found.user_id, found.anonymous_id, found."timestamp") as hash
from site_visits as found
where
    (
        select reads_visits and (not had_site_rows or exists (select from changed_days where kind = 'visits'))
        from this_refresh
    )
    and (
        (select not had_site_rows from this_refresh)
        or (found.schema_name, found.table_name, found.recorded_day) in (
            select schema_name, table_name, recorded_day from changed_days where kind = 'visits'
        )
    );

create temporary table conversion_rows on commit drop as
select
    found.*,
    hash_record_extended(found, 0) as hash
from site_conversions as found
where
    (
        select not had_site_rows or exists (select from changed_days where kind = 'conversions')
        from this_refresh
    )
    and (
        (select not had_site_rows from this_refresh)
        or (found.schema_name, found.table_name, found.recorded_day) in (
            select schema_name, table_name, recorded_day from changed_days where kind = 'conversions'
        )
    );

create temporary table identify_rows on commit drop as
select
    found.*,
    hash_record_extended(found, 0) as hash
from site_identifies as found
where
    (
        select not had_site_rows or exists (select from changed_days where kind = 'identifications')
        from this_refresh
    )
    and (
        (select not had_site_rows from this_refresh)
        or (found.schema_name, found.table_name, found.recorded_day) in (
            select schema_name, table_name, recorded_day from changed_days where kind = 'identifications'
        )
    );

reset enable_seqscan;
analyze visit_rows;
analyze conversion_rows;
analyze identify_rows;

-- What has been read now.
create temporary table read_days on commit drop as
with found as (
    select 'visits' as kind, schema_name, table_name, recorded_day, recorded_at, hash from visit_rows
    union all
    select 'conversions', schema_name, table_name, recorded_day, recorded_at, hash from conversion_rows
    union all
    select 'identifications', schema_name, table_name, recorded_day, recorded_at, hash from identify_rows
)

select
    kind,
    schema_name,
    table_name,
    recorded_day,
    count(*) as number_of_rows,
    sum(hash) as hash,
    max(recorded_at) as recorded_until
from found
group by kind, schema_name, table_name, recorded_day;

-- A clock that is ahead must not hide what comes after it.
insert into stored_sources as stored (kind, schema_name, table_name, recorded_until, read_from)
select
    kind,
    schema_name,
    table_name,
    least(max(recorded_until), now()) as recorded_until,
    '-infinity' as read_from
from read_days
group by kind, schema_name, table_name
on conflict (kind, schema_name, table_name) do update set
recorded_until = greatest(stored.recorded_until, excluded.recorded_until);

delete from stored_site_days as stored
using stored_sources as sources, changed_days as changed
where
    stored.source = sources.source
    and sources.kind = changed.kind
    and sources.schema_name = changed.schema_name
    and sources.table_name = changed.table_name
    and stored.recorded_day = changed.recorded_day;

insert into stored_site_days (source, recorded_day, number_of_rows, hash)
select
    sources.source,
    days.recorded_day,
    days.number_of_rows,
    days.hash
from read_days as days
inner join stored_sources as sources
    on days.kind = sources.kind and days.schema_name = sources.schema_name and days.table_name = sources.table_name;

-- Whose stored rows are compared with those just read.
create temporary table compared_days on commit drop as
select
    sources.source,
    sources.kind,
    changed.recorded_day
from changed_days as changed
inner join stored_sources as sources
    on changed.kind = sources.kind
    and changed.schema_name = sources.schema_name
    and changed.table_name = sources.table_name;

analyze compared_days;
