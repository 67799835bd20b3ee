-- One row per e-mail address: the user it belongs to.
--
-- The latest identification wins, by Segment or by an e-mail sent to a user at that address. Two users identified
-- at the same latest time make the address ambiguous: it belongs to nobody.
create or replace view identities as
with identifications as (
    select
        email,
        user_id,
        max("timestamp") as identified_at
    from site_identifies
    where email is not null and user_id is not null
    group by email, user_id
    union all
    select
        email,
        user_id,
        identified_at
    from stored_identifications
),

latest as (
    select
        email,
        user_id,
        max(identified_at) as identified_at
    from identifications
    group by email, user_id
),

ranked as (
    select
        email,
        user_id,
        rank() over (partition by email order by identified_at desc nulls last) as place
    from latest
)

select
    email,
    case when count(*) = 1 then min(user_id) end as user_id,
    count(*) > 1 as is_ambiguous
from ranked
where place = 1
group by email;

comment on view identities is 'One row per e-mail address: the user it belongs to';
