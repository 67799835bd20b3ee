"""Change documented properties to text in the tables that loads created, where their first value was a number.

The loader writes the values that did not fit with its next load: they wait as if the column had been missing.
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

PROPERTIES = (
    *("email_id", "email_subject", "campaign_id", "campaign_name", "link_id", "link_name", "link_url"),
    *("list_id", "list_name"),
)
#: Only these views of ours may read a table that a load created; others that do so are the user's.
VIEWS = ("machine_opens", "site_events", "conversions", "site_visits", "site_conversions", "site_identifies")
#: `bring_views_up_to_date` in env.py creates our views again. Replacing them by empty ones keeps their grants, and the
#: views that read from them. A name of a property without all but its letters and digits may be that of a column; of
#: a value that has another column, the loader restores the reason.
CHANGE_COLUMNS = """
do $$
declare
    found record;
    readers text;
begin
    create temporary table numeric_properties on commit drop as
    select pg_class.oid as table_oid, attnum, relname, attname, atttypid = 'timestamptz'::regtype as is_time
    from pg_class
    join pg_attribute on attrelid = pg_class.oid
    join pg_type on pg_type.oid = atttypid
    where relnamespace = {schema}::regnamespace
        and relkind in ('r', 'p')
        and attname in ({properties})
        and not attisdropped
        and typcategory <> 'S'
        and 2 = (
            select count(*) from pg_attribute as standard
            where standard.attrelid = pg_class.oid
                and standard.attname in ('uuid_ts', 'event_text')
                and not standard.attisdropped
        );

    create temporary table readers_of_properties on commit drop as
    select distinct ev_class, relnamespace in ({schema}::regnamespace, {ops}::regnamespace)
        and relkind = 'v' and views.relname in ({views}) as is_ours
    from numeric_properties
    join pg_depend on refclassid = 'pg_class'::regclass and refobjid = table_oid and refobjsubid = attnum
    join pg_rewrite on classid = 'pg_rewrite'::regclass and pg_rewrite.oid = objid
    join pg_class as views on views.oid = ev_class;

    select string_agg(ev_class::regclass::text, ', ' order by ev_class::regclass::text) into readers
    from readers_of_properties where not is_ours;
    if readers is not null then
        raise exception 'columns that become text are read by views that are not the loader''s'
            using errcode = 'dependent_objects_still_exist', detail = readers;
    end if;

    for found in
        select ev_class::regclass as place, string_agg(
            format('null::%s as %I', format_type(atttypid, atttypmod), attname), ', ' order by attnum
        ) as columns
        from readers_of_properties
        join pg_attribute on attrelid = ev_class and attnum > 0 and not attisdropped
        group by ev_class
    loop
        execute format('create or replace view %s as select %s where false', found.place, found.columns);
    end loop;

    for found in
        select table_oid::regclass as place, relname, string_agg(
            format('alter column %I type text using ', attname)
            || case when is_time
                then format('to_char(%1$I at time zone ''UTC'', case '
                    'when date_trunc(''milliseconds'', %1$I) = %1$I then ''YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'' '
                    'else ''YYYY-MM-DD"T"HH24:MI:SS.US"Z"'' end)', attname)
                else format('%I::text', attname)
            end,
            ', ' order by attname
        ) as changes
        from numeric_properties
        group by table_oid, relname
    loop
        execute format('alter table %s %s', found.place, found.changes);
    end loop;

    update {ops_name}.discarded_values set reason = 'no_column'
    from numeric_properties
    where reason = 'misfit' and table_name = relname
        and lower(regexp_replace(property, '[^A-Za-z0-9]', '', 'g')) = replace(attname, '_', '');

    delete from {ops_name}.refreshed
    where exists (select from numeric_properties where relname = 'email_machine_opened');

    drop table numeric_properties, readers_of_properties;
end
$$
"""


def upgrade() -> None:
    ops = op.get_context().version_table_schema
    ops_name, schema_name = quote(ops, '"'), quote(ops.removesuffix("_ops"), '"')
    statement = CHANGE_COLUMNS.format(
        ops=quote(ops_name, "'"),
        schema=quote(schema_name, "'"),
        ops_name=ops_name,
        properties=", ".join(quote(name, "'") for name in PROPERTIES),
        views=", ".join(quote(name, "'") for name in VIEWS),
    )
    op.execute(sa.text(statement.replace(":", r"\:")))


def quote(text: str, mark: str) -> str:
    return mark + text.replace(mark, 2 * mark) + mark


def downgrade() -> None:
    """Change nothing: the version below loads into columns of text as well."""
