-- Events of mailings, an e-mail of a campaign to a person, that have news: assigned to a delivery, and to a person
-- or a machine.
--
-- Reads  incoming_events, changed_people, and the stored events of the mailings with news, by index.
-- Writes stored_events; stale_mailings, judged_events (temporary).
-- Cost   follows the events of the mailings with news.
create temporary table stale_mailings on commit drop as
select
    person,
    mailing
from incoming_events
union
select
    unnest(array[changed.old_person, changed.person]) as person,
    stored.mailing
from changed_people as changed
inner join stored_events as stored on changed.old_person = stored.person and changed.identity = stored.identity;

analyze stale_mailings;

-- With what is stored of each event, and where; of a new one nothing is.
create temporary table judged_events on commit drop as
with thresholds as (
    select
        max(value) filter (where name = 'machine_open_seconds')::numeric * interval '1 s' as machine_open,
        max(value) filter (where name = 'machine_click_seconds')::numeric * interval '1 s' as machine_click,
        max(value) filter (where name = 'burst_seconds')::numeric * interval '1 s' as burst_gap,
        max(value) filter (where name = 'burst_links')::int as burst_links
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
        min("timestamp") filter (where event = 'd') over whole as first_delivered_at
    from events
    window
        whole as (partition by person, mailing),
        so_far as (
            whole
            order by "timestamp", event <> 'd', original_timestamp, id
            rows unbounded preceding
        )
),

-- Clicks of a message that follow each other closely are one burst.
followed as (
    select
        delivered.*,
        coalesce(targets.link_id, targets.link_url, targets.link_name, '') as link,
        delivered."timestamp" - lag(delivered."timestamp") over message <= thresholds.burst_gap as follows
    from delivered
    inner join stored_targets as targets on delivered.target = targets.target
    cross join thresholds
    where delivered.event = 'c'
    window message as (
        partition by delivered.person, delivered.mailing, delivered.delivery
        order by delivered."timestamp", delivered.original_timestamp, delivered.id
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

ranked as (
    select
        bursts.*,
        dense_rank() over (partition by person, mailing, delivery, burst order by link) as link_rank
    from bursts
),

counted as (
    select
        place, id, original_timestamp, "timestamp", person, mailing, identity, title, agent, target, event, old_person,
        old_delivery, old_delivered_at, old_later_delivered_at, old_actor, old_rule, delivery, delivered_at,
        first_delivered_at, link,
        max(link_rank) over (partition by person, mailing, delivery, burst) as burst_links
    from ranked
    union all
    select
        place, id, original_timestamp, "timestamp", person, mailing, identity, title, agent, target, event, old_person,
        old_delivery, old_delivered_at, old_later_delivered_at, old_actor, old_rule, delivery, delivered_at,
        first_delivered_at, null as link,
        null as burst_links
    from delivered
    where event <> 'c'
),

judged as (
    select
        counted.*,
        (case
            when counted.event not in ('o', 'm', 'c') then null
            when counted.event = 'm' then 'r'
            when counted.event = 'o' and agents.is_proxy then 'p'
            when agents.is_machine then 'a'
            when counted.burst_links >= thresholds.burst_links then 'b'
            when
                counted."timestamp" - counted.delivered_at
                < case when counted.event = 'o' then thresholds.machine_open else thresholds.machine_click end
                then 't'
            when counted.delivered_at is null and counted.agent is null then 'n'
            else 'o'
        end)::"char" as rule
    from counted
    cross join thresholds
    left join stored_agents as agents on counted.agent = agents.agent
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
        when rule in ('r', 'a', 'b', 't') then 'm'
        when rule in ('p', 'o') then 'h'
        when rule = 'n' then 'u'
    end)::"char" as actor,
    rule
from judged;

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

insert into stored_events (
    original_timestamp, "timestamp", delivered_at, later_delivered_at, person, mailing, identity, delivery, title,
    agent, target, event, actor, rule, id
)
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
where place is null
order by "timestamp";
