-- Which properties have values that wait for a column, the most values first.
-- One row per property of a table, 20 at most.
select
    table_name,
    property,
    count(*) as discarded,
    min(discarded_at) as since
from discarded_values
where reason = 'no_column'
group by table_name, property
order by discarded desc, table_name, property
limit 20
