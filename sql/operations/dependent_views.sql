-- Which views depend on a column of some tables, directly or through other views.
-- One row per view.
with recursive dependent as (
    select ev_class as oid
    from pg_attribute
    join pg_depend on refobjid = attrelid and refobjsubid = attnum and refclassid = 'pg_class'::regclass
    join pg_rewrite on pg_rewrite.oid = objid and classid = 'pg_rewrite'::regclass
    join pg_class on pg_class.oid = attrelid
    where attname = %(column_name)s
        and relname = any(%(tables)s)
        and relnamespace = to_regnamespace(%(schema)s)
        and ev_class <> attrelid
    union
    select ev_class
    from dependent
    join pg_depend on refobjid = dependent.oid and refclassid = 'pg_class'::regclass
    join pg_rewrite on pg_rewrite.oid = objid and classid = 'pg_rewrite'::regclass
    where ev_class <> dependent.oid
)

select nspname, relname
from dependent
join pg_class using (oid)
join pg_namespace on pg_namespace.oid = relnamespace
order by nspname, relname
