-- Mailings, an e-mail of a campaign to a person, with new events or of people who turned out to be others: their events
-- are told apart by delivery, and by whether a person or a machine did them.
create temporary table stale_mailings on commit drop as
with mailings as (
    select
        coalesce(new_events.user_id, stored_people.person) as person,
        new_events.campaign_id,
        new_events.email_id
    from new_events
    left join stored_people on new_events.user_id is null and new_events.recipient = stored_people.recipient
    union
    select
        unnest(array[changed.old_person, changed.person]) as person,
        stored.campaign_id,
        stored.email_id
    from changed_people as changed
    inner join stored_events as stored
        on changed.old_person = stored.person
        and changed.recipient = stored.recipient
        and stored.user_id is null
)

select
    row_number() over () as mailing, -- a number, by which rows are sorted ten times as fast as by three texts
    person,
    campaign_id,
    email_id
from mailings;

analyze stale_mailings;

create temporary table judged_events on commit drop as
with thresholds as (
    select
        max(value) filter (where name = 'machine_agents') as machine_agents,
        max(value) filter (where name = 'proxy_agents') as proxy_agents,
        max(value) filter (where name = 'machine_open_seconds')::numeric * interval '1 s' as machine_open,
        max(value) filter (where name = 'machine_click_seconds')::numeric * interval '1 s' as machine_click,
        max(value) filter (where name = 'burst_seconds')::numeric * interval '1 s' as burst_gap,
        max(value) filter (where name = 'burst_links')::int as burst_links
    from settings
),

events as (
    select
        id, original_timestamp, event, "timestamp", user_id, recipient, email, campaign_id, campaign_name, email_id,
        email_subject, link_id, link_name, link_url, context_user_agent
    from new_events
    union all
    select
        stored.id, stored.original_timestamp, stored.event, stored."timestamp", stored.user_id, stored.recipient,
        stored.email, stored.campaign_id, stored.campaign_name, stored.email_id, stored.email_subject, stored.link_id,
        stored.link_name, stored.link_url, stored.context_user_agent
    from stale_mailings as stale
    inner join stored_events as stored
        on stale.person = stored.person
        and stale.campaign_id = stored.campaign_id
        and stale.email_id = stored.email_id
),

matched as (
    select
        events.*,
        coalesce(events.user_id, stored_people.person) as person,
        coalesce(stored_people.matched_by, 'user_id') as matched_by
    from events
    left join stored_people on events.user_id is null and events.recipient = stored_people.recipient
),

-- A message is the n-th delivery; what happens belongs to the latest delivery before it. Of one moment the delivery
-- comes first.
delivered as (
    select
        matched.*,
        stale.mailing,
        count(*) filter (where event = 'email_delivered') over so_far as delivery,
        max("timestamp") filter (where event = 'email_delivered') over so_far as delivered_at,
        min("timestamp") filter (where event = 'email_delivered') over whole as first_delivered_at
    from matched
    inner join stale_mailings as stale using (person, campaign_id, email_id)
    window
        whole as (partition by stale.mailing),
        so_far as (
            whole
            order by "timestamp", event <> 'email_delivered', original_timestamp, id
            rows unbounded preceding
        )
),

-- Clicks of a message that follow each other closely are one burst.
followed as (
    select
        delivered.*,
        coalesce(link_id, link_url, link_name, '') as link,
        "timestamp" - lag("timestamp") over message <= thresholds.burst_gap as follows
    from delivered
    cross join thresholds
    where event = 'email_link_clicked'
    window message as (partition by mailing, delivery order by "timestamp", original_timestamp, id)
),

bursts as (
    select
        followed.*,
        count(*) filter (where follows is not true) over (
            partition by mailing, delivery order by "timestamp", original_timestamp, id rows unbounded preceding
        ) as burst
    from followed
),

ranked as (
    select
        bursts.*,
        dense_rank() over (partition by mailing, delivery, burst order by link) as link_rank
    from bursts
),

counted as (
    select
        id, original_timestamp, event, "timestamp", user_id, recipient, email, campaign_id, campaign_name, email_id,
        email_subject, link_id, link_name, link_url, context_user_agent, person, matched_by, mailing, delivery,
        delivered_at, first_delivered_at,
        max(link_rank) over (partition by mailing, delivery, burst) as burst_links
    from ranked
    union all
    select
        id, original_timestamp, event, "timestamp", user_id, recipient, email, campaign_id, campaign_name, email_id,
        email_subject, link_id, link_name, link_url, context_user_agent, person, matched_by, mailing, delivery,
        delivered_at, first_delivered_at,
        null as burst_links
    from delivered
    where event <> 'email_link_clicked'
),

judged as (
    select
        counted.*,
        case
            when event not in ('email_opened', 'email_machine_opened', 'email_link_clicked') then null
            when event = 'email_machine_opened' then 'reported'
            when event = 'email_opened' and context_user_agent ~* thresholds.proxy_agents then 'proxy'
            when context_user_agent ~* thresholds.machine_agents then 'agent'
            when counted.burst_links >= thresholds.burst_links then 'burst'
            when
                "timestamp" - delivered_at
                < case when event = 'email_opened' then thresholds.machine_open else thresholds.machine_click end
                then 'too_soon'
            when delivered_at is null and context_user_agent is null then 'no_evidence'
            else 'otherwise'
        end as rule
    from counted
    cross join thresholds
)

select
    id,
    original_timestamp,
    event,
    "timestamp",
    user_id,
    recipient,
    email,
    campaign_id,
    campaign_name,
    email_id,
    email_subject,
    link_id,
    link_name,
    link_url,
    context_user_agent,
    person,
    matched_by,
    mailing,
    delivery,
    delivered_at,
    first_delivered_at,
    case
        when rule in ('reported', 'agent', 'burst', 'too_soon') then 'machine'
        when rule in ('proxy', 'otherwise') then 'human'
        when rule = 'no_evidence' then 'unknown'
    end as actor,
    rule
from judged;

insert into stored_events as stored (
    id, original_timestamp, event, "timestamp", user_id, recipient, email, campaign_id, campaign_name, email_id,
    email_subject, link_id, link_name, link_url, context_user_agent, person, matched_by, delivery, delivered_at,
    first_delivered_at, actor, rule
)
select
    id, original_timestamp, event, "timestamp", user_id, recipient, email, campaign_id, campaign_name, email_id,
    email_subject, link_id, link_name, link_url, context_user_agent, person, matched_by, delivery, delivered_at,
    first_delivered_at, actor, rule
from judged_events
order by "timestamp"
on conflict (original_timestamp, id) do update set
    person = excluded.person,
    matched_by = excluded.matched_by,
    delivery = excluded.delivery,
    delivered_at = excluded.delivered_at,
    first_delivered_at = excluded.first_delivered_at,
    actor = excluded.actor,
    rule = excluded.rule
where
    (
        stored.person, stored.matched_by, stored.delivery, stored.delivered_at, stored.first_delivered_at,
        stored.actor, stored.rule
    )
    is distinct from
    (
        excluded.person, excluded.matched_by, excluded.delivery, excluded.delivered_at, excluded.first_delivered_at,
        excluded.actor, excluded.rule
    );

analyze stored_events;
