-- New events by numbers: whose they are, which e-mail, which link.
--
-- Reads  new_events, numbered_names.
-- Writes stored_names, stored_mailings, stored_titles, stored_targets, stored_agents; contents, incoming_events
--        (temporary). Nothing reads new_events after it.
-- Cost   follows the new events.
create temporary table contents on commit drop as
select
    new.*,
    stored_dimensions.dimension
from (
    select
        campaign_id,
        email_id,
        campaign_name,
        email_subject,
        dimensions,
        count(*) as events,
        max("timestamp") as "timestamp"
    from new_events
    group by campaign_id, email_id, campaign_name, email_subject, dimensions
) as new
left join stored_dimensions on nullif(new.dimensions, '')::jsonb = stored_dimensions.parts;

analyze contents;

-- The latest name of a campaign wins; of one moment the smaller.
with named as (
    select distinct on (campaign_id)
        campaign_id,
        campaign_name,
        case when campaign_name is not null then "timestamp" end as named_at
    from contents
    order by campaign_id, (campaign_name is null), "timestamp" desc, campaign_name
),

renamed as (
    update stored_names as stored set campaign_name = named.campaign_name, named_at = named.named_at
    from named
    where
        stored.campaign_id = named.campaign_id
        and (
            stored.named_at is null
            or named.named_at > stored.named_at
            or (named.named_at = stored.named_at and named.campaign_name < stored.campaign_name)
        )
)

insert into stored_names (campaign_id, campaign_name, named_at)
select
    named.campaign_id,
    named.campaign_name,
    named.named_at
from named
left join stored_names as stored on named.campaign_id = stored.campaign_id
where stored.campaign_id is null;

insert into stored_mailings (campaign, email_id)
select distinct
    stored_names.campaign,
    contents.email_id
from contents
inner join stored_names on contents.campaign_id = stored_names.campaign_id
left join stored_mailings as stored
    on stored_names.campaign = stored.campaign and contents.email_id = stored.email_id
where stored.mailing is null;

create temporary table new_titles on commit drop as
select distinct
    contents.campaign_name,
    contents.email_subject,
    contents.dimension
from contents
left join stored_titles as stored
    on hashtextextended(coalesce(contents.email_subject, ''), 0)
    = hashtextextended(coalesce(stored.email_subject, ''), 0)
    and (contents.campaign_name, contents.email_subject, contents.dimension)
    is not distinct from (stored.campaign_name, stored.email_subject, stored.dimension)
where stored.title is null;

insert into stored_titles (campaign_name, email_subject, dimension)
select
    campaign_name,
    email_subject,
    dimension
from new_titles;

create temporary table targets on commit drop as
select distinct
    link_id,
    link_name,
    link_url
from new_events
where event = 'c';

analyze targets;

create temporary table new_targets on commit drop as
select
    targets.link_id,
    targets.link_name,
    targets.link_url
from targets
left join stored_targets as stored
    on hashtextextended(coalesce(targets.link_url, ''), 0) = hashtextextended(coalesce(stored.link_url, ''), 0)
    and (targets.link_id, targets.link_name, targets.link_url)
    is not distinct from (stored.link_id, stored.link_name, stored.link_url)
where stored.target is null;

insert into stored_targets (link_id, link_name, link_url)
select
    link_id,
    link_name,
    link_url
from new_targets;

-- The rules on user agents, once for each.
update stored_agents as stored set
    is_proxy = stored.user_agent ~* proxies.value,
    is_machine = stored.user_agent ~* machines.value
from settings as proxies
cross join settings as machines
where
    (select judges_again from this_refresh)
    and proxies.name = 'proxy_agents'
    and machines.name = 'machine_agents';

create temporary table agents on commit drop as
select distinct context_user_agent as user_agent
from new_events
where context_user_agent is not null;

analyze agents;

create temporary table new_agents on commit drop as
select
    agents.user_agent,
    agents.user_agent ~* (select value from settings where name = 'proxy_agents') as is_proxy,
    agents.user_agent ~* (select value from settings where name = 'machine_agents') as is_machine
from agents
left join stored_agents as stored
    on hashtextextended(agents.user_agent, 0) = hashtextextended(stored.user_agent, 0)
    and agents.user_agent = stored.user_agent
where stored.agent is null;

insert into stored_agents (user_agent, is_proxy, is_machine)
select
    user_agent,
    is_proxy,
    is_machine
from new_agents;

-- Numbers of what the new events name, by the texts: a flag separates missing ones from empty ones.
create temporary table named_contents on commit drop as
select
    contents.campaign_id,
    contents.email_id,
    contents.campaign_name is null as is_unnamed,
    coalesce(contents.campaign_name, '') as campaign_name,
    contents.email_subject is null as is_untitled,
    coalesce(contents.email_subject, '') as email_subject,
    contents.dimensions,
    stored_mailings.mailing,
    stored_titles.title
from contents
inner join stored_names on contents.campaign_id = stored_names.campaign_id
inner join stored_mailings
    on stored_names.campaign = stored_mailings.campaign and contents.email_id = stored_mailings.email_id
inner join stored_titles
    on hashtextextended(coalesce(contents.email_subject, ''), 0)
    = hashtextextended(coalesce(stored_titles.email_subject, ''), 0)
    and (contents.campaign_name, contents.email_subject, contents.dimension)
    is not distinct from (stored_titles.campaign_name, stored_titles.email_subject, stored_titles.dimension);

create temporary table named_recipients on commit drop as
select
    new.has_user_id,
    new.user_id,
    new.anonymous_id,
    new.traits_email,
    stored.identity,
    stored.person
from numbered_names as new
inner join stored_identities as stored
    on new.recipient = stored.recipient
    and coalesce(new.address, 0) = coalesce(stored.address, 0)
    and new.has_user = (stored.matched_by = 'u')
    and new.has_placeholder = (stored.matched_by = 'p');

create temporary table named_agents on commit drop as
select
    agents.user_agent,
    stored.agent
from agents
inner join stored_agents as stored
    on hashtextextended(agents.user_agent, 0) = hashtextextended(stored.user_agent, 0)
    and agents.user_agent = stored.user_agent;

create temporary table named_targets on commit drop as
select
    'c'::"char" as event,
    coalesce(targets.link_id, '') as link_id,
    coalesce(targets.link_name, '') as link_name,
    coalesce(targets.link_url, '') as link_url,
    targets.link_id is null as has_no_id,
    targets.link_name is null as has_no_name,
    targets.link_url is null as has_no_url,
    stored.target
from targets
inner join stored_targets as stored
    on hashtextextended(coalesce(targets.link_url, ''), 0) = hashtextextended(coalesce(stored.link_url, ''), 0)
    and (targets.link_id, targets.link_name, targets.link_url)
    is not distinct from (stored.link_id, stored.link_name, stored.link_url);

analyze named_contents;
analyze named_recipients;
analyze named_agents;
analyze named_targets;

-- Each new event has one row of each table of names; the planner takes so many equal columns for next to none.
set local enable_nestloop to off;

create temporary view numbered_events as
select
    new.id,
    new.original_timestamp,
    new."timestamp",
    recipients.person,
    contents.mailing,
    recipients.identity,
    contents.title,
    agents.agent,
    targets.target,
    new.event
from new_events as new
inner join named_contents as contents
    on new.campaign_id = contents.campaign_id
    and new.email_id = contents.email_id
    and coalesce(new.campaign_name, '') = contents.campaign_name
    and (new.campaign_name is null) = contents.is_unnamed
    and coalesce(new.email_subject, '') = contents.email_subject
    and (new.email_subject is null) = contents.is_untitled
    and new.dimensions = contents.dimensions
inner join named_recipients as recipients
    on new.has_user_id = recipients.has_user_id
    and new.user_id = recipients.user_id
    and new.anonymous_id = recipients.anonymous_id
    and new.traits_email = recipients.traits_email
left join named_agents as agents on new.context_user_agent = agents.user_agent
left join named_targets as targets
    on new.event = targets.event
    and coalesce(new.link_id, '') = targets.link_id
    and coalesce(new.link_name, '') = targets.link_name
    and coalesce(new.link_url, '') = targets.link_url
    and (new.link_id is null) = targets.has_no_id
    and (new.link_name is null) = targets.has_no_name
    and (new.link_url is null) = targets.has_no_url;

-- In two parts, as they were read.
create temporary table incoming_events on commit drop as
select *
from numbered_events
limit 0; -- noqa: AM09

insert into incoming_events
select *
from numbered_events
where event = 'd';

insert into incoming_events
select *
from numbered_events
where event <> 'd';

reset enable_nestloop;
drop view numbered_events;
drop table new_events;
analyze incoming_events;
