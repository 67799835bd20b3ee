-- How far people of each campaign got. The site's events carry no time of loading, so all are looked at again.
delete from stored_funnel;

insert into stored_funnel (campaign_id, delivered, opened, clicked, visited, converted)
with people as (
    select
        campaign_id,
        person,
        bool_or(human_opened_at is not null or human_clicked_at is not null) as has_opened,
        min(human_clicked_at) as clicked_at
    from stored_messages
    where delivered_at is not null
    group by campaign_id, person
),

clickers as (
    select
        campaign_id,
        person,
        clicked_at
    from people
    where clicked_at is not null
),

visits as (
    select
        coalesce(site_events.user_id, visitors.person) as person,
        site_events."timestamp" as visited_at
    from site_events
    left join visitors on site_events.user_id is null and site_events.anonymous_id = visitors.anonymous_id
),

visited as (
    select distinct
        clickers.campaign_id,
        clickers.person
    from visits
    inner join clickers on visits.person = clickers.person and visits.visited_at >= clickers.clicked_at
    inner join settings on settings.name = 'visit_window'
    where visits.visited_at <= clickers.clicked_at + make_interval(secs => extract(epoch from settings.value::interval))
),

converted as (
    select distinct
        clickers.campaign_id,
        clickers.person
    from stored_conversions as credits
    inner join clickers
        on credits.person = clickers.person
        and credits.campaign_id = clickers.campaign_id
    inner join settings on settings.name = 'default_model' and credits.model = settings.value
    where credits.credit > 0
),

-- A conversion proves a visit.
arrivals as (
    select
        campaign_id,
        count(*) as visited
    from (select * from visited union select * from converted) as arrived
    group by campaign_id
),

conversions as (
    select
        campaign_id,
        count(*) as converted
    from converted
    group by campaign_id
),

steps as (
    select
        campaign_id,
        count(*) as delivered,
        count(*) filter (where has_opened) as opened,
        count(clicked_at) as clicked
    from people
    group by campaign_id
)

select
    steps.campaign_id,
    steps.delivered,
    steps.opened,
    steps.clicked,
    coalesce(arrivals.visited, 0) as visited,
    coalesce(conversions.converted, 0) as converted
from steps
left join arrivals on steps.campaign_id = arrivals.campaign_id
left join conversions on steps.campaign_id = conversions.campaign_id;
