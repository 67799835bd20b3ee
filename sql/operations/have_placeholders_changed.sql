-- Whether the setting placeholder_ids has changed since the last refresh in a way that concerns stored events.
--
-- The stored figures do not have the ids that the old setting hid, and hide ids by the new one: they have to be computed
-- from the events if a name that was added is known, or if one was removed that may have hidden something.
with items as (
    select
        lower(trim_blanks(item)) as name,
        true as is_new
    from settings
    cross join string_to_table(settings.value, ',') as items (item)
    where settings.name = 'placeholder_ids'
    union all
    select
        lower(trim_blanks(item)),
        false
    from refreshed
    cross join string_to_table(refreshed.settings ->> 'placeholder_ids', ',') as items (item)
),

changed as (
    select
        name,
        bool_or(is_new) as is_added
    from items
    where name <> ''
    group by name
    having count(distinct is_new) = 1
),

added as (
    select array_agg(name) || array_agg(normalize_address(name)) as names
    from changed
    where is_added
)

select
    exists (
        select
        from stored_people
        where
            (select names from added) is not null
            and lower(trim_blanks(name)) = any((select names from added)::text[])
    )
    or exists (
        select
        from changed
        where
            not is_added
            and (name like '%@%' or exists (select from stored_identities where matched_by = 'p'))
    )
