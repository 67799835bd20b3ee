-- Events of mailings, an e-mail of a campaign to a person, that have news: assigned to a delivery, and to a person
-- or a machine.
--
-- Reads  incoming_events, changed_people, and the stored events of the mailings with news, by index.
-- Writes stored_events; stale_mailings, judged_events (temporary).
-- Cost   follows the events of the mailings with news; after a change of the rules, all events.
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
where (select judges_again from this_refresh)
union
select
    unnest(array[changed.old_person, changed.person]) as person,
    stored.mailing
from changed_people as changed
inner join stored_events as stored on changed.old_person = stored.person and changed.identity = stored.identity
order by person, mailing;

analyze stale_mailings;

-- With what is stored of each event, and where; of a new one nothing is.
create temporary table judged_events on commit drop as
with thresholds as (
    select
        max(value) filter (where name = 'machine_open_seconds')::numeric * interval '1 s' as machine_open,
        max(value) filter (where name = 'machine_click_seconds')::numeric * interval '1 s' as machine_click,
        max(value) filter (where name = 'burst_seconds')::numeric * interval '1 s' as burst_gap
    from settings
),

events as (
    select
        null::tid as place, id, original_timestamp, "timestamp", person, mailing, identity, title, agent, target, event,
        event <> 'd' as is_reaction, null::int as old_person, null::int as old_delivery,
        null::timestamptz as old_delivered_at, null::timestamptz as old_later_delivered_at, null::"char" as old_actor,
        null::"char" as old_rule
    from incoming_events
    union all
    select
        stored.ctid, stored.id, stored.original_timestamp, stored."timestamp", coalesce(changed.person, stored.person),
        stored.mailing, stored.identity, stored.title, stored.agent, stored.target, stored.event, stored.event <> 'd',
        stored.person, stored.delivery, stored.delivered_at, stored.later_delivered_at, stored.actor, stored.rule
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
        max("timestamp") filter (where event = 'c') over before as earlier_clicked_at,
        min("timestamp") filter (where event = 'd') over whole as first_delivered_at
    from events
    window
        whole as (partition by person, mailing),
        ordered as (whole order by "timestamp", is_reaction, original_timestamp, id),
        so_far as (ordered rows unbounded preceding),
        before as (ordered rows between unbounded preceding and 1 preceding)
),

-- Clicks of a message that follow each other closely are one burst.
burst as (
    select
        delivered.*,
        count(*) filter (
            where event = 'c' and (
                earlier_clicked_at >= coalesce(delivered_at, '-infinity')
                and "timestamp" - earlier_clicked_at <= thresholds.burst_gap
            ) is not true
        ) over (
            partition by person, mailing
            order by "timestamp", is_reaction, original_timestamp, id rows unbounded preceding
        ) as burst
    from delivered
    cross join thresholds
),

ruled as (
    select
        burst.*,
        coalesce(targets.link_id, targets.link_url, targets.link_name, '') as link,
        (case
            when burst.event not in ('o', 'm', 'c') then null
            when burst.event = 'm' then 'r'
            when burst.event = 'o' and agents.is_proxy then 'p'
            when agents.is_machine then 'a'
            when
                burst."timestamp" - burst.delivered_at
                < case when burst.event = 'o' then thresholds.machine_open else thresholds.machine_click end
                then 't'
            when burst.delivered_at is null and burst.agent is null then 'n'
            else 'o'
        end)::"char" as rule
    from burst
    cross join thresholds
    left join stored_agents as agents on burst.agent = agents.agent
    left join stored_targets as targets on burst.target = targets.target
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
    case when event = 'c' then link end as link,
    case when event = 'c' then burst::int end as burst,
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

-- A burst on many links is a machine's. What its user agent says of a click goes before.
update judged_events as judged set rule = 'b', actor = 'm'
from (
    select
        person,
        mailing,
        burst
    from judged_events
    where event = 'c'
    group by person, mailing, burst
    having count(distinct link) >= (select value::int from settings where name = 'burst_links')
) as crowded
where
    judged.person = crowded.person
    and judged.mailing = crowded.mailing
    and judged.burst = crowded.burst
    and judged.rule <> 'a';

-- By changed rules most events are judged as before: mailings without a difference are left out.
create temporary table changed_mailings on commit drop as
select distinct
    person,
    mailing
from judged_events
where
    (select judges_again from this_refresh)
    and (place is null or old_person <> person or (old_actor, old_rule) is distinct from (actor, rule));

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
    )
    and stale.person not in (select old_person from changed_people);

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
