-- Numbers for the names of people, and for the browsers of the site.
--
-- Reads  new_events, visit_rows, conversion_rows, identify_rows.
-- Writes stored_people, stored_browsers; sent_names, known_people (temporary): what new events name, and all names of new
--        rows with their numbers.
-- Cost   follows the new rows.
--
-- The recipient of an event is its user id, else its e-mail address, else what was sent as anonymous id. What the setting
-- placeholder_ids lists identifies nobody, whose name is empty.
create temporary table sent_names on commit drop as
with sent as (
    select
        has_user_id,
        user_id,
        anonymous_id,
        traits_email,
        max("timestamp") as "timestamp"
    from new_events
    group by has_user_id, user_id, anonymous_id, traits_email
),

-- Materialized, so that each text is read once.
read as materialized (
    select
        sent.*,
        case when lower(trim_blanks(user_id)) <> all(placeholders.names) then user_id end as known_user,
        lower(trim_blanks(anonymous_id)) as visitor,
        normalize_address(anonymous_id) as anonymous_address,
        normalize_address(traits_email) as traits_address,
        placeholders.names as placeholders
    from sent
    cross join placeholders
),

addressed as (
    select
        read.*,
        coalesce(
            case when known_user is null and anonymous_address <> all(placeholders) then anonymous_address end,
            case when traits_address <> all(placeholders) then traits_address end
        ) as email
    from read
),

named as (
    select
        addressed.*,
        coalesce(known_user, email, case when visitor <> all(placeholders) then visitor end, '') as recipient
    from addressed
)

select
    has_user_id,
    user_id,
    anonymous_id,
    traits_email,
    "timestamp",
    recipient,
    email,
    known_user is not null as has_user,
    known_user is null and (has_user_id or recipient = '') as has_placeholder
from named;

analyze sent_names;

-- Visitors of the site apart, since they may be many: another session can find them meanwhile. Who has a user id is that
-- user, whatever the browser.
create temporary table visit_names on commit drop as
select distinct
    user_id,
    case when user_id is null then anonymous_id end as anonymous_id
from visit_rows;

analyze visit_names;

-- Each name is looked up once, by index where there is one, in the order of the index; a new one gets its number. The
-- subquery looks up the sequence once for all of them.
set local enable_seqscan to off;

create temporary table known_people on commit drop as
with names as (
    select recipient as name from sent_names
    union
    select email from sent_names
    union
    select user_id from identify_rows
    union
    select email from identify_rows
    union
    select user_id from visit_names
    union
    select user_id from conversion_rows
    order by name
)

select
    names.name,
    coalesce(
        stored.person, nextval((select pg_get_serial_sequence('stored_people', 'person'))::regclass)
    )::int as person,
    stored.owner,
    coalesce(stored.is_ambiguous, false) as is_ambiguous,
    stored.person is null as is_new
from names
left join stored_people as stored on names.name = stored.name
where names.name is not null;

reset enable_seqscan;

analyze known_people;

insert into stored_people (person, name)
select
    person,
    name
from known_people
where is_new;

create temporary table new_browsers on commit drop as
with names as (
    select anonymous_id from identify_rows
    union
    select anonymous_id from visit_names
    union
    select anonymous_id from conversion_rows
    where user_id is null
)

select names.anonymous_id
from names
left join stored_browsers on names.anonymous_id = stored_browsers.anonymous_id
where names.anonymous_id is not null and stored_browsers.anonymous_id is null;

insert into stored_browsers (anonymous_id)
select anonymous_id from new_browsers;
