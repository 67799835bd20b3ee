-- Who clicked which link of an e-mail.
--
-- Reads  judged_events, which has all clicks of a mailing with news, and incoming_events.
-- Writes stored_links.
-- Cost   follows the clicks of the mailings with news.
create temporary table link_changes on commit drop as
with clicks as (
    select
        mailing,
        link,
        1 as sign,
        person,
        actor
    from judged_events
    where event = 'c'
    union all
    select
        mailing,
        link,
        -1 as sign,
        old_person,
        old_actor
    from judged_events
    where event = 'c' and place is not null
),

people as (
    select
        mailing,
        link,
        sum(sign) as clicks,
        coalesce(sum(sign) filter (where actor = 'h'), 0) as human_clicks,
        bool_or(sign > 0)::int - bool_or(sign < 0)::int as people,
        coalesce(bool_or(sign > 0) filter (where actor = 'h')::int, 0)
        - coalesce(bool_or(sign < 0) filter (where actor = 'h')::int, 0) as human_people
    from clicks
    group by mailing, link, person
),

counted as (
    select
        mailing,
        link,
        sum(clicks) as clicks,
        sum(human_clicks) as human_clicks,
        sum(people) as people,
        sum(human_people) as human_people
    from people
    group by mailing, link
),

-- The latest name and address; of one moment the smaller.
named as (
    select
        new.mailing,
        coalesce(targets.link_id, targets.link_url, targets.link_name, '') as link,
        max(targets.link_id) as link_id,
        max(new."timestamp") filter (where targets.link_name is not null) as named_at,
        max(new."timestamp") filter (where targets.link_url is not null) as located_at,
        (
            array_agg(targets.link_name order by new."timestamp" desc, targets.link_name)
            filter (where targets.link_name is not null)
        )[1] as link_name,
        (
            array_agg(targets.link_url order by new."timestamp" desc, targets.link_url)
            filter (where targets.link_url is not null)
        )[1] as link_url
    from (
        select
            mailing,
            target,
            max("timestamp") as "timestamp"
        from incoming_events
        where event = 'c'
        group by mailing, target
    ) as new
    inner join stored_targets as targets on new.target = targets.target
    group by new.mailing, coalesce(targets.link_id, targets.link_url, targets.link_name, '')
)

select
    counted.*,
    named.link_id,
    named.link_name,
    named.named_at,
    named.link_url,
    named.located_at
from counted
left join named on counted.mailing = named.mailing and counted.link = named.link;

insert into stored_links as stored (
    mailing, link, link_id, link_name, named_at, link_url, located_at, clicks, human_clicks, people, human_people
)
select
    mailing,
    link,
    link_id,
    link_name,
    named_at,
    link_url,
    located_at,
    clicks,
    human_clicks,
    people,
    human_people
from link_changes
where (clicks, human_clicks, people, human_people) <> (0, 0, 0, 0) or named_at is not null or located_at is not null
on conflict (mailing, link) do update set
link_id = greatest(stored.link_id, excluded.link_id),
link_name = case
    when
        stored.named_at is null
        or excluded.named_at > stored.named_at
        or (excluded.named_at = stored.named_at and excluded.link_name < stored.link_name)
        then excluded.link_name
    else stored.link_name
end,
named_at = greatest(stored.named_at, excluded.named_at),
link_url = case
    when
        stored.located_at is null
        or excluded.located_at > stored.located_at
        or (excluded.located_at = stored.located_at and excluded.link_url < stored.link_url)
        then excluded.link_url
    else stored.link_url
end,
located_at = greatest(stored.located_at, excluded.located_at),
clicks = stored.clicks + excluded.clicks,
human_clicks = stored.human_clicks + excluded.human_clicks,
people = stored.people + excluded.people,
human_people = stored.human_people + excluded.human_people;

drop table incoming_events;
