-- How far people of each campaign got. The site's events carry no time of loading, so all are looked at again.
create temporary table clickers on commit drop as
select
    campaign_id,
    person,
    min(human_clicked_at) as clicked_at
from stored_messages
where delivered_at is not null and human_clicked_at is not null
group by campaign_id, person;

analyze clickers;

create temporary table visited on commit drop as
with visits as (
    select
        coalesce(site_events.user_id, browsers.person) as person,
        site_events."timestamp" as visited_at
    from site_events
    left join browsers on site_events.user_id is null and site_events.anonymous_id = browsers.anonymous_id
)

select distinct
    clickers.campaign_id,
    clickers.person
from visits
inner join clickers on visits.person = clickers.person and visits.visited_at >= clickers.clicked_at
inner join settings on settings.name = 'visit_window'
where visits.visited_at <= clickers.clicked_at + make_interval(secs => extract(epoch from settings.value::interval));

analyze visited;

delete from stored_funnel;

insert into stored_funnel (campaign_id, delivered, opened, clicked, visited, converted)
with converted as (
    select distinct
        credits.campaign_id,
        credits.person
    from stored_conversions as credits
    inner join settings on settings.name = 'default_model' and credits.model = settings.value
    inner join clickers on credits.person = clickers.person and credits.campaign_id = clickers.campaign_id
    where credits.credit > 0
),

-- A conversion proves a visit.
arrived as (
    select
        campaign_id,
        count(*) as visited,
        count(converted.person) as converted
    from visited
    full join converted using (campaign_id, person)
    group by campaign_id
)

select
    stored.campaign_id,
    stored.recipients as delivered,
    stored.recipients_human_seen as opened,
    stored.recipients_human_clicked as clicked,
    coalesce(arrived.visited, 0) as visited,
    coalesce(arrived.converted, 0) as converted
from stored_campaigns as stored
left join arrived on stored.campaign_id = arrived.campaign_id
where stored.recipients > 0;
