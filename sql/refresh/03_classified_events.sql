-- Events of mailings, an e-mail of a campaign to a person, that have news: assigned to a delivery, and to a person
-- or a machine.
--
-- Reads  incoming_events, changed_people, and the stored events of the mailings with news, by index.
-- Writes stored_events; stale_mailings, judged_events (temporary).
-- Cost   follows the events of the mailings with news. After a change of the rules all events are looked through, and
--        those of mailings with clicks are judged again; if it touches opens, those with opens too.
create temporary table stale_mailings on commit drop as
select
    person,
    mailing
from incoming_events
where (select had_events from this_refresh)
union
select
    person,
    mailing
from stored_events
where
    (select judges_again from this_refresh)
    and (event = 'c' or (event = 'o' and (select judges_opens_again from this_refresh)))
union
select
    unnest(array[changed.old_person, changed.person]) as person,
    stored.mailing
from changed_people as changed
inner join stored_events as stored on changed.old_person = stored.person and changed.identity = stored.identity
order by mailing, person;

analyze stale_mailings;

-- With what is stored of each event, and where; of a new one nothing is.
create temporary view judgements as
with thresholds as (
    select
        max(value) filter (where name = 'machine_open_seconds')::numeric * interval '1 s' as machine_open,
        max(value) filter (where name = 'machine_click_seconds')::numeric * interval '1 s' as machine_click
    from settings
),

events as (
    select
        null::tid as place, id, original_timestamp, "timestamp", person, mailing, identity, title, agent, target, event,
        null::int as old_person, null::int as old_delivery, null::timestamptz as old_delivered_at,
        null::timestamptz as old_later_delivered_at, null::"char" as old_actor, null::"char" as old_rule
    from incoming_events
    union all
    select
        stored.ctid, stored.id, stored.original_timestamp, stored."timestamp", coalesce(changed.person, stored.person),
        stored.mailing, stored.identity, stored.title, stored.agent, stored.target, stored.event, stored.person,
        stored.delivery, stored.delivered_at, stored.later_delivered_at, stored.actor, stored.rule
    from stale_mailings as stale
    inner join stored_events as stored on stale.person = stored.person and stale.mailing = stored.mailing
    left join changed_people as changed on stored.identity = changed.identity
),

-- A message is the n-th delivery; what happens belongs to the latest delivery before it. Of one moment the delivery
-- comes first.
delivered as (
    select
        events.*,
        count(*) filter (where event = 'd') over so_far as delivery,
        max("timestamp") filter (where event = 'd') over so_far as delivered_at,
        min("timestamp") filter (where event = 'd') over (partition by person, mailing) as first_delivered_at
    from events
    window so_far as (
        partition by person, mailing
        order by "timestamp", event <> 'd', original_timestamp, id rows unbounded preceding
    )
),

ruled as (
    select
        delivered.*,
        case when event = 'c' then coalesce(targets.link_id, targets.link_url, targets.link_name, '') end as link,
        (case
            when delivered.event not in ('o', 'm', 'c') then null
            when delivered.event = 'm' then 'r'
            when delivered.event = 'o' and agents.is_proxy then 'p'
            when agents.is_machine then 'a'
            when
                delivered."timestamp" - delivered.delivered_at
                < case
                    when delivered.event = 'o' then (select machine_open from thresholds)
                    else (select machine_click from thresholds)
                end
                then 't'
            when delivered.delivered_at is null and delivered.agent is null then 'n'
            else 'o'
        end)::"char" as rule
    from delivered
    left join stored_agents as agents on delivered.agent = agents.agent
    left join stored_targets as targets on delivered.target = targets.target
)

select
    place,
    id,
    original_timestamp,
    "timestamp",
    person,
    mailing,
    identity,
    title,
    agent,
    target,
    event,
    link,
    old_person,
    old_delivery,
    old_delivered_at,
    old_later_delivered_at,
    old_actor,
    old_rule,
    delivery::int as delivery,
    delivered_at,
    case when delivered_at is null then first_delivered_at end as later_delivered_at,
    (case
        when rule in ('r', 'a', 't') then 'm'
        when rule in ('p', 'o') then 'h'
        when rule = 'n' then 'u'
    end)::"char" as actor,
    rule
from ruled;

-- The first time in four parts, which two sessions compute at the same time; later the first of them is all.
create temporary table judged_events on commit drop as
select *
from judgements
limit 0; -- noqa: AM09

insert into judged_events
select *
from judgements
where person % 4 = 0 or (select had_events from this_refresh);

insert into judged_events
select *
from judgements
where person % 4 = 1 and (select not had_events from this_refresh);

insert into judged_events
select *
from judgements
where person % 4 = 2 and (select not had_events from this_refresh);

insert into judged_events
select *
from judgements
where person % 4 = 3 and (select not had_events from this_refresh);

drop view judgements;

analyze judged_events;

-- Clicks of a message that follow each other closely are one burst. A burst on many links is a machine's, unless the
-- user agent has said so already.
with followed as (
    select
        judged.ctid as row_place,
        judged.*,
        judged."timestamp" - lag(judged."timestamp") over message
        <= settings.value::numeric * interval '1 s' as follows
    from judged_events as judged
    inner join settings on settings.name = 'burst_seconds'
    where judged.event = 'c'
    window message as (
        partition by judged.person, judged.mailing, judged.delivery
        order by judged."timestamp", judged.original_timestamp, judged.id
    )
),

bursts as (
    select
        followed.*,
        count(*) filter (where follows is not true) over (
            partition by person, mailing, delivery
            order by "timestamp", original_timestamp, id rows unbounded preceding
        ) as burst
    from followed
),

crowded as (
    select
        person,
        mailing,
        delivery,
        burst
    from bursts
    group by person, mailing, delivery, burst
    having count(distinct link) >= (select value::int from settings where name = 'burst_links')
)

update judged_events as judged set rule = 'b', actor = 'm'
from bursts
inner join crowded
    on bursts.person = crowded.person
    and bursts.mailing = crowded.mailing
    and bursts.delivery = crowded.delivery
    and bursts.burst = crowded.burst
where judged.ctid = bursts.row_place and judged.rule <> 'a';

-- By changed rules most events are judged as before: mailings in which nothing has changed are left out.
create temporary table changed_mailings on commit drop as
select
    person,
    mailing
from judged_events
where
    (select judges_again from this_refresh)
    and (old_person, old_delivery, old_delivered_at, old_later_delivered_at, old_actor, old_rule)
    is distinct from (person, delivery, delivered_at, later_delivered_at, actor, rule)
union
select
    old_person,
    mailing
from judged_events
where (select judges_again from this_refresh) and old_person <> person;

analyze changed_mailings;

delete from judged_events as judged
where
    (select judges_again from this_refresh)
    and not exists (
        select from changed_mailings as changed
        where judged.person = changed.person and judged.mailing = changed.mailing
    );

delete from stale_mailings as stale
where
    (select judges_again from this_refresh)
    and not exists (
        select from changed_mailings as changed
        where stale.person = changed.person and stale.mailing = changed.mailing
    );

analyze judged_events;

update stored_events as stored set
    person = judged.person,
    delivery = judged.delivery,
    delivered_at = judged.delivered_at,
    later_delivered_at = judged.later_delivered_at,
    actor = judged.actor,
    rule = judged.rule
from judged_events as judged
where
    stored.ctid = judged.place
    and (
        judged.old_person, judged.old_delivery, judged.old_delivered_at, judged.old_later_delivered_at,
        judged.old_actor, judged.old_rule
    )
    is distinct from
    (
        judged.person, judged.delivery, judged.delivered_at, judged.later_delivered_at,
        judged.actor, judged.rule
    );

-- In the columns' order of stored_events.
create temporary view added_events as
select
    original_timestamp,
    "timestamp",
    delivered_at,
    later_delivered_at,
    person,
    mailing,
    identity,
    delivery,
    title,
    agent,
    target,
    event,
    actor,
    rule,
    id
from judged_events
where place is null;

-- In the order of time, for the index on it. Later in the order of days, and on a day of people, for the other indexes.
insert into stored_events
select *
from added_events
where (select not had_events from this_refresh)
order by "timestamp";

insert into stored_events
select *
from added_events
where (select had_events from this_refresh)
order by "timestamp"::date, person;

drop view added_events;
