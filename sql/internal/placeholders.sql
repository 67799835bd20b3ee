-- One row per warehouse: what stands for no identifier, from the setting placeholder_ids, as identifiers are compared.
--
-- A blank is always one.
create or replace view placeholders as
with listed as (
    select lower(trim_blanks(items.item)) as name
    from settings as setting
    cross join string_to_table(setting.value, ',') as items (item)
    where setting.name = 'placeholder_ids'
)

select array_agg(name order by name) as names
from (
    select name from listed
    union
    select normalize_address(name) as name from listed
    union
    select '' as name
) as found
where name is not null;

comment on view placeholders is 'One row per warehouse: what stands for no identifier';
