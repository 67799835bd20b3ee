-- Numbers for the combinations of values that new events have in the properties of the setting dimensions.
--
-- Reads  new_events, if the setting names any.
-- Writes stored_dimensions.
-- Cost   follows the new events.
insert into stored_dimensions (parts)
select found.parts
from (
    select distinct dimensions::jsonb as parts
    from new_events
    where dimensions <> '' and (select value <> '' from settings where name = 'dimensions')
) as found
left join stored_dimensions as stored on found.parts = stored.parts
where stored.dimension is null;
