-- Who is meant by an e-mail address that stands in for a user id, and who uses a browser of the site.
--
-- The latest identification of an address wins, by Segment or by an e-mail to a user at that address. Two users with
-- equally late ones make it ambiguous: it belongs to nobody. A browser is whose who identified with it last; of one moment
-- a user id comes before an address, then the smaller name.
--
-- Reads  sent_names, known_people, identify_rows.
-- Writes stored_people, stored_browsers, stored_identifications, stored_identities; numbered_names (temporary): what new
--        events name; changed_people, changed_browsers (temporary): whose events, visits and conversions are somebody
--        else's now. Nothing reads sent_names after it.
-- Cost   follows the new rows, and the addresses and browsers for which they have news.
-- The recipients by numbers, in whose order they are looked up.
create temporary table numbered_names on commit drop as
select
    sent.has_user_id,
    sent.user_id,
    sent.anonymous_id,
    sent.traits_email,
    sent."timestamp",
    sent.has_user,
    sent.has_placeholder,
    recipients.person as recipient,
    addresses.person as address
from sent_names as sent
inner join known_people as recipients on sent.recipient = recipients.name
left join known_people as addresses on sent.email = addresses.name
order by recipients.person;

drop table sent_names;
analyze numbered_names;

create temporary table numbered_recipients on commit drop as
select
    recipient,
    address,
    has_user,
    has_placeholder,
    max("timestamp") as "timestamp"
from numbered_names
group by recipient, address, has_user, has_placeholder
order by recipient;

analyze numbered_recipients;

-- What was said by e-mails of an address and a user, and what was known of it, which is looked up by index.
create temporary table named_addresses on commit drop as
select
    named.address,
    named.recipient as owner,
    named."timestamp" as identified_at,
    known.place,
    known.identified_at as known_at
from (
    select *
    from numbered_recipients
    where has_user and address is not null
    order by address
) as named
left join lateral (
    select
        ctid as place,
        identified_at
    from stored_identifications
    where source = 0 and address = named.address and owner = named.recipient
    offset 0 -- noqa: AM09
) as known on true;

analyze named_addresses;

update stored_identifications as stored set identified_at = named.identified_at
from named_addresses as named
where stored.ctid = named.place and named.known_at < named.identified_at;

insert into stored_identifications (source, address, owner, identified_at)
select
    0 as source,
    address,
    owner,
    identified_at
from named_addresses
where place is null;

-- An address that is said again to be its owner's stays theirs.
create temporary table stale_addresses on commit drop as
select named.address
from named_addresses as named
inner join known_people as known on named.address = known.person
where known.owner is distinct from named.owner or known.is_ambiguous;

-- What was said on the site, against what it had said of the same days.
create temporary table identifications on commit drop as
with found as (
    select
        sources.source,
        rows.recorded_day,
        rows."timestamp" as identified_at,
        addresses.person as address,
        owners.person as owner,
        stored_browsers.browser,
        1 as number_of_rows
    from identify_rows as rows
    inner join stored_sources as sources
        on sources.kind = 'identifications'
        and rows.schema_name = sources.schema_name
        and rows.table_name = sources.table_name
    left join known_people as addresses on rows.email = addresses.name
    left join known_people as owners on rows.user_id = owners.name
    left join stored_browsers on rows.anonymous_id = stored_browsers.anonymous_id
    union all
    select
        stored.source,
        stored.recorded_day,
        stored.identified_at,
        stored.address,
        stored.owner,
        stored.browser,
        -1
    from stored_identifications as stored
    inner join compared_days as days on stored.source = days.source and stored.recorded_day = days.recorded_day
    where stored.source > 0
)

select
    source,
    recorded_day,
    identified_at,
    address,
    owner,
    browser,
    sum(number_of_rows) as number_of_rows
from found
group by source, recorded_day, identified_at, address, owner, browser
having sum(number_of_rows) <> 0;

analyze identifications;

delete from stored_identifications
where ctid in (
    select numbered.place
    from (
        select
            stored.ctid as place,
            gone.number_of_rows,
            row_number() over (
                partition by
                    stored.source, stored.recorded_day, stored.identified_at, stored.address, stored.owner,
                    stored.browser
            ) as number_of_row
        from stored_identifications as stored
        inner join identifications as gone on stored.source = gone.source and stored.recorded_day = gone.recorded_day
        where
            stored.source > 0
            and gone.number_of_rows < 0
            and (stored.identified_at, stored.address, stored.owner, stored.browser)
            is not distinct from (gone.identified_at, gone.address, gone.owner, gone.browser)
    ) as numbered
    where numbered.number_of_row <= -numbered.number_of_rows
);

insert into stored_identifications (source, recorded_day, identified_at, address, owner, browser)
select
    source,
    recorded_day,
    identified_at,
    address,
    owner,
    browser
from identifications
cross join generate_series(1, number_of_rows);

insert into stale_addresses
select address
from identifications
where address is not null and owner is not null;

analyze stale_addresses;

-- Addresses that belong to another now.
create temporary table changed_addresses on commit drop as
with stale as (
    select distinct address from stale_addresses
),

latest as (
    select
        stored.address,
        stored.owner,
        max(stored.identified_at) as identified_at
    from stale
    inner join stored_identifications as stored on stale.address = stored.address
    where stored.owner is not null
    group by stored.address, stored.owner
),

ranked as (
    select
        address,
        owner,
        rank() over (partition by address order by identified_at desc nulls last) as place
    from latest
),

owned as (
    select
        address,
        case when count(*) = 1 then min(owner) end as owner,
        count(*) > 1 as is_ambiguous
    from ranked
    where place = 1
    group by address
)

select
    stale.address,
    owned.owner,
    coalesce(owned.is_ambiguous, false) as is_ambiguous
from stale
inner join stored_people as stored on stale.address = stored.person
left join owned on stale.address = owned.address
where (stored.owner, stored.is_ambiguous) is distinct from (owned.owner, coalesce(owned.is_ambiguous, false));

analyze changed_addresses;

update stored_people as stored set owner = changed.owner, is_ambiguous = changed.is_ambiguous
from changed_addresses as changed
where stored.person = changed.address;

update known_people as known set owner = changed.owner, is_ambiguous = changed.is_ambiguous
from changed_addresses as changed
where known.person = changed.address;

-- Recipients without a user id whose address belongs to another now.
create temporary table changed_identities on commit drop as
select
    stored.identity,
    stored.person as old_person,
    coalesce(changed.owner, changed.address) as person,
    (case
        when stored.matched_by = 'p' then 'p'
        when changed.owner is not null then 'e'
        when changed.is_ambiguous then 'a'
        else 'n'
    end)::"char" as matched_by
from changed_addresses as changed
inner join stored_identities as stored on changed.address = stored.recipient
where stored.matched_by <> 'u';

analyze changed_identities;

update stored_identities as stored set person = changed.person, matched_by = changed.matched_by
from changed_identities as changed
where stored.identity = changed.identity;

create temporary table changed_people on commit drop as
select
    identity,
    old_person,
    person
from changed_identities
where old_person <> person;

-- Recipients named in a way that is new.
create temporary table new_identities on commit drop as
select
    new.recipient,
    new.address,
    case when new.has_user then new.recipient else coalesce(people.owner, new.recipient) end as person,
    case
        when new.has_user then 'u'
        when new.has_placeholder then 'p'
        when people.owner is not null then 'e'
        when people.is_ambiguous then 'a'
        else 'n'
    end::"char" as matched_by
from numbered_recipients as new
inner join known_people as people on new.recipient = people.person
left join stored_identities as stored
    on new.recipient = stored.recipient
    and coalesce(new.address, 0) = coalesce(stored.address, 0)
    and new.has_user = (stored.matched_by = 'u')
    and new.has_placeholder = (stored.matched_by = 'p')
where stored.identity is null;

insert into stored_identities (recipient, address, person, matched_by)
select
    recipient,
    address,
    person,
    matched_by
from new_identities;

-- Browsers that are somebody else's now.
create temporary table changed_browsers on commit drop as
with stale as (
    select browser
    from identifications
    where browser is not null
    union
    select stored.browser
    from changed_addresses as changed
    inner join stored_identifications as stored on changed.address = stored.address
    where stored.owner is null and stored.browser is not null
),

identified as (
    select
        stored.browser,
        stored.identified_at,
        stored.owner is not null as has_user,
        coalesce(stored.owner, addresses.owner, stored.address) as person
    from stale
    inner join stored_identifications as stored on stale.browser = stored.browser
    left join stored_people as addresses on stored.address = addresses.person
),

latest as (
    select distinct on (identified.browser)
        identified.browser,
        identified.person
    from identified
    inner join stored_people as people on identified.person = people.person
    order by identified.browser, identified.identified_at desc nulls last, identified.has_user desc, people.name
)

select
    stale.browser,
    stored.person as old_person,
    latest.person
from stale
inner join stored_browsers as stored on stale.browser = stored.browser
left join latest on stale.browser = latest.browser
where stored.person is distinct from latest.person;

analyze changed_browsers;

update stored_browsers as stored set person = changed.person
from changed_browsers as changed
where stored.browser = changed.browser;
