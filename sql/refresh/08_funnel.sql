-- How far people of each campaign got: those who clicked, with their visits and conversions.
--
-- Reads  changed_messages, conversion_people, visit_changes, changed_browsers; stored messages, events, visits and credits
--        by index.
-- Writes stored_clickers, stored_campaigns.
-- Cost   follows the changed visits, and the people with changes who clicked.
-- Whoever has other clicks, visits or conversions than before.
create temporary table funnel_people on commit drop as
select person
from changed_messages
where human_clicked_at is not null
union
select person
from conversion_people
union
select coalesce(changes.person, browsers.person)
from visit_changes as changes
left join stored_browsers as browsers on changes.browser = browsers.browser
where (select had_events from this_refresh)
union
select unnest(array[old_person, person])
from changed_browsers
union
select person
from stored_clickers
where (select looks_for_visits_again from this_refresh);

delete from funnel_people
where person is null;

analyze funnel_people;

create temporary table new_clicks on commit drop as
select
    mailings.campaign,
    events.person,
    events."timestamp" as clicked_at
from funnel_people as stale
inner join stored_messages as messages
    on stale.person = messages.person and messages.human_clicked_at is not null and messages.delivered_at is not null
inner join stored_mailings as mailings on messages.mailing = mailings.mailing
inner join stored_events as events
    on messages.person = events.person
    and messages.mailing = events.mailing
    and messages.delivery = events.delivery
    and events.event = 'c'
    and events.actor = 'h';

analyze new_clicks;

-- A visit counts within the window after any of the person's clicks.
create temporary table new_clickers on commit drop as
with clicked as (
    select
        campaign,
        person,
        min(clicked_at) as clicked_at
    from new_clicks
    group by campaign, person
),

clickers as (
    select distinct person from new_clicks
),

visits as (
    select
        clickers.person,
        stored.visited_at
    from clickers
    inner join stored_visits as stored on clickers.person = stored.person
    union all
    select
        clickers.person,
        stored.visited_at
    from clickers
    inner join stored_browsers as browsers on clickers.person = browsers.person
    inner join stored_visits as stored on browsers.browser = stored.browser
),

visited as (
    select distinct
        clicks.campaign,
        clicks.person
    from new_clicks as clicks
    inner join visits on clicks.person = visits.person and clicks.clicked_at <= visits.visited_at
    inner join settings on settings.name = 'visit_window'
    where
        visits.visited_at <= clicks.clicked_at + make_interval(secs => extract(epoch from settings.value::interval))
),

converted as (
    select distinct
        mailings.campaign,
        clicked.person
    from clicked
    inner join stored_credits as credits on clicked.person = credits.person
    inner join stored_mailings as mailings
        on credits.mailing = mailings.mailing and clicked.campaign = mailings.campaign
    inner join stored_models as models on credits.model = models.model and models.is_default
    inner join stored_conversions as conversions on credits.conversion = conversions.conversion
    where credits.credit > 0 and not conversions.is_refund
)

-- A conversion proves a visit.
select
    clicked.clicked_at,
    clicked.person,
    clicked.campaign,
    visited.person is not null or converted.person is not null as has_visited,
    converted.person is not null as has_converted
from clicked
left join visited on clicked.person = visited.person and clicked.campaign = visited.campaign
left join converted on clicked.person = converted.person and clicked.campaign = converted.campaign;

create temporary table old_clickers on commit drop as
select stored.*
from funnel_people as stale
inner join stored_clickers as stored on stale.person = stored.person;

delete from stored_clickers as stored
using old_clickers as old
left join new_clickers as new on old.person = new.person and old.campaign = new.campaign
where stored.person = old.person and stored.campaign = old.campaign and new.person is null;

insert into stored_clickers as stored (clicked_at, person, campaign, has_visited, has_converted)
select
    clicked_at,
    person,
    campaign,
    has_visited,
    has_converted
from new_clickers
on conflict (person, campaign) do update set
clicked_at = excluded.clicked_at,
has_visited = excluded.has_visited,
has_converted = excluded.has_converted
where
    (stored.clicked_at, stored.has_visited, stored.has_converted)
    <> (excluded.clicked_at, excluded.has_visited, excluded.has_converted);

with changes as (
    select
        campaign,
        has_visited::int as visited,
        has_converted::int as converted
    from new_clickers
    union all
    select
        campaign,
        -has_visited::int,
        -has_converted::int
    from old_clickers
),

summed as (
    select
        campaign,
        sum(visited) as visited,
        sum(converted) as converted
    from changes
    group by campaign
    having sum(visited) <> 0 or sum(converted) <> 0
)

update stored_campaigns as stored set
    recipients_visited = stored.recipients_visited + summed.visited,
    recipients_converted = stored.recipients_converted + summed.converted
from summed
where stored.campaign = summed.campaign;
