-- Who is meant by an e-mail address that was sent instead of a user id; what has changed since the last refresh.
insert into stored_identifications as stored (email, user_id, identified_at)
select
    email,
    user_id,
    max("timestamp")
from new_events
where email is not null and user_id is not null
group by email, user_id
on conflict (email, user_id) do update set identified_at = excluded.identified_at
where excluded.identified_at > stored.identified_at;

create temporary table changed_people on commit drop as
with recipients as (
    select recipient from stored_people
    union
    select recipient from new_events where user_id is null
),

matched as (
    select
        recipients.recipient,
        coalesce(identities.user_id, recipients.recipient) as person,
        case
            when identities.user_id is not null then 'email'
            when identities.is_ambiguous then 'ambiguous'
            else 'none'
        end as matched_by
    from recipients
    left join identities on recipients.recipient = identities.email
)

select
    matched.recipient,
    matched.person,
    matched.matched_by,
    stored.person as old_person
from matched
left join stored_people as stored on matched.recipient = stored.recipient
where stored.recipient is null or (matched.person, matched.matched_by) <> (stored.person, stored.matched_by);

insert into stored_people (recipient, person, matched_by)
select
    recipient,
    person,
    matched_by
from changed_people
on conflict (recipient) do update set person = excluded.person, matched_by = excluded.matched_by;

analyze stored_people;
analyze changed_people;

-- Who uses a browser of the site.
create temporary table browsers on commit drop as
select
    anonymous_id,
    person
from visitors;

analyze browsers;
