-- Figures of the campaigns with stale mailings or changed credits.
create temporary table stale_campaigns on commit drop as
select campaign_id
from stale_mailings
union
select campaign_id
from changed_credits
where credit > 0;

analyze stale_campaigns;

create temporary table campaign_messages on commit drop as
select
    stored.*,
    (coalesce(stored.delivered_at, stored.bounced_at) at time zone settings.value)::date as delivery_day
from stored_messages as stored
inner join stale_campaigns as stale on stored.campaign_id = stale.campaign_id
inner join settings on settings.name = 'reporting_time_zone';

create temporary table campaign_credits on commit drop as
select
    stored.campaign_id,
    stored.person,
    stored.email_id,
    stored.delivery,
    stored.credit,
    stored.credit * stored.revenue as revenue
from stored_conversions as stored
inner join stale_campaigns as stale on stored.campaign_id = stale.campaign_id
inner join settings on settings.name = 'default_model' and stored.model = settings.value
where stored.credit > 0;

analyze campaign_messages;
analyze campaign_credits;

delete from stored_campaigns as stored
using stale_campaigns as stale
where stored.campaign_id = stale.campaign_id;

insert into stored_campaigns (
    campaign_id, first_delivered_at, last_delivered_at, attempted, delivered, bounced, arrived, opened, human_opened,
    clicked, human_clicked, seen, human_seen, unsubscribed, complained, recipients, recipients_opened,
    recipients_human_opened, recipients_clicked, recipients_human_clicked, recipients_human_seen, seconds_to_open,
    seconds_to_click, conversions, converted, revenue
)
with delivered as (
    select
        campaign_id,
        count(*) filter (where bounced_at is null) as arrived,
        count(*) as delivered,
        count(opened_at) as opened,
        count(human_opened_at) as human_opened,
        count(clicked_at) as clicked,
        count(human_clicked_at) as human_clicked,
        count(coalesce(opened_at, clicked_at)) as seen,
        count(coalesce(human_opened_at, human_clicked_at)) as human_seen,
        count(unsubscribed_at) as unsubscribed,
        count(complained_at) as complained,
        min(delivered_at) as first_delivered_at,
        max(delivered_at) as last_delivered_at,
        percentile_cont(array[0.5, 0.9]) within group (
            order by extract(epoch from human_opened_at - delivered_at)::double precision
        ) as seconds_to_open,
        percentile_cont(array[0.5, 0.9]) within group (
            order by extract(epoch from human_clicked_at - delivered_at)::double precision
        ) as seconds_to_click
    from campaign_messages
    where delivered_at is not null
    group by campaign_id
),

attempted as (
    select
        campaign_id,
        count(*) filter (where delivered_at is not null or bounced_at is not null) as attempted,
        count(bounced_at) as bounced
    from campaign_messages
    group by campaign_id
),

people as (
    select
        campaign_id,
        person,
        bool_or(opened_at is not null) as has_opened,
        bool_or(human_opened_at is not null) as has_human_opened,
        bool_or(clicked_at is not null) as has_clicked,
        bool_or(human_clicked_at is not null) as has_human_clicked
    from campaign_messages
    where delivered_at is not null
    group by campaign_id, person
),

reached as (
    select
        campaign_id,
        count(*) as recipients,
        count(*) filter (where has_opened) as recipients_opened,
        count(*) filter (where has_human_opened) as recipients_human_opened,
        count(*) filter (where has_clicked) as recipients_clicked,
        count(*) filter (where has_human_clicked) as recipients_human_clicked,
        count(*) filter (where has_human_opened or has_human_clicked) as recipients_human_seen
    from people
    group by campaign_id
),

credited as (
    select
        campaign_id,
        sum(credit) as conversions,
        sum(revenue) as revenue,
        count(distinct (person, email_id, delivery)) filter (where delivery > 0) as converted
    from campaign_credits
    group by campaign_id
)

select
    attempted.campaign_id,
    delivered.first_delivered_at,
    delivered.last_delivered_at,
    attempted.attempted,
    coalesce(delivered.delivered, 0) as delivered,
    attempted.bounced,
    coalesce(delivered.arrived, 0) as arrived,
    coalesce(delivered.opened, 0) as opened,
    coalesce(delivered.human_opened, 0) as human_opened,
    coalesce(delivered.clicked, 0) as clicked,
    coalesce(delivered.human_clicked, 0) as human_clicked,
    coalesce(delivered.seen, 0) as seen,
    coalesce(delivered.human_seen, 0) as human_seen,
    coalesce(delivered.unsubscribed, 0) as unsubscribed,
    coalesce(delivered.complained, 0) as complained,
    coalesce(reached.recipients, 0) as recipients,
    coalesce(reached.recipients_opened, 0) as recipients_opened,
    coalesce(reached.recipients_human_opened, 0) as recipients_human_opened,
    coalesce(reached.recipients_clicked, 0) as recipients_clicked,
    coalesce(reached.recipients_human_clicked, 0) as recipients_human_clicked,
    coalesce(reached.recipients_human_seen, 0) as recipients_human_seen,
    delivered.seconds_to_open,
    delivered.seconds_to_click,
    coalesce(credited.conversions, 0) as conversions,
    coalesce(credited.converted, 0) as converted,
    coalesce(credited.revenue, 0) as revenue
from attempted
left join delivered on attempted.campaign_id = delivered.campaign_id
left join reached on attempted.campaign_id = reached.campaign_id
left join credited on attempted.campaign_id = credited.campaign_id;

-- By day of delivery, or of the bounce of what was never delivered.
delete from stored_campaign_days as stored
using stale_campaigns as stale
where stored.campaign_id = stale.campaign_id;

insert into stored_campaign_days (
    campaign_id, delivery_day, attempted, delivered, bounced, opened, human_opened, clicked, human_clicked,
    unsubscribed, complained, conversions, revenue
)
with credited as (
    select
        campaign_id,
        person,
        email_id,
        delivery,
        sum(credit) as conversions,
        sum(revenue) as revenue
    from campaign_credits
    group by campaign_id, person, email_id, delivery
)

select
    messages.campaign_id,
    messages.delivery_day,
    count(*) as attempted,
    count(messages.delivered_at) as delivered,
    count(messages.bounced_at) as bounced,
    count(messages.opened_at) filter (where messages.delivered_at is not null) as opened,
    count(messages.human_opened_at) filter (where messages.delivered_at is not null) as human_opened,
    count(messages.clicked_at) filter (where messages.delivered_at is not null) as clicked,
    count(messages.human_clicked_at) filter (where messages.delivered_at is not null) as human_clicked,
    count(messages.unsubscribed_at) filter (where messages.delivered_at is not null) as unsubscribed,
    count(messages.complained_at) filter (where messages.delivered_at is not null) as complained,
    coalesce(sum(credited.conversions), 0) as conversions,
    coalesce(sum(credited.revenue), 0) as revenue
from campaign_messages as messages
left join credited
    on messages.person = credited.person
    and messages.delivery = credited.delivery
    and messages.campaign_id = credited.campaign_id
    and messages.email_id = credited.email_id
where messages.delivery_day is not null
group by messages.campaign_id, messages.delivery_day;

delete from stored_links as stored
using stale_campaigns as stale
where stored.campaign_id = stale.campaign_id;

insert into stored_links (
    campaign_id, email_id, link, link_id, link_name, link_url, clicks, human_clicks, people, human_people
)
with clicks as (
    select
        events.campaign_id,
        events.email_id,
        coalesce(events.link_id, events.link_url, events.link_name, '') as link,
        events.link_id,
        events.link_name,
        events.link_url,
        events.person,
        events.actor = 'human' as is_human,
        events."timestamp" as moment
    from stored_events as events
    inner join stale_campaigns as stale on events.campaign_id = stale.campaign_id
    where events.event = 'email_link_clicked'
)

select
    campaign_id,
    email_id,
    link,
    max(link_id) as link_id,
    (array_agg(link_name order by moment desc, link_name desc) filter (where link_name is not null))[1] as link_name,
    (array_agg(link_url order by moment desc, link_url desc) filter (where link_url is not null))[1] as link_url,
    count(*) as clicks,
    count(*) filter (where is_human) as human_clicks,
    count(distinct person) as people,
    count(distinct person) filter (where is_human) as human_people
from clicks
group by campaign_id, email_id, link;
