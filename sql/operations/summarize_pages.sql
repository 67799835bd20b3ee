-- Let the BRIN indexes of a source know the pages that rows have been added to. Until they do, every query that uses one
-- of them reads these pages.
select brin_summarize_new_values(indexes.oid)
from pg_class as indexes
inner join pg_am as methods on indexes.relam = methods.oid
where
    indexes.relnamespace = to_regnamespace(%(schema)s)
    and indexes.relkind = 'i'
    and methods.amname = 'brin'
    and pg_has_role(indexes.relowner, 'usage')
