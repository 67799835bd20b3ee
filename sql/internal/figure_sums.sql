-- One row per figure and view that shows it: its sum there, which is the same in all views of a figure.
create or replace view figure_sums as
with events as (
    select
        count(*) filter (where event = 'email_delivered') as delivered,
        count(*) filter (where event = 'email_link_clicked') as clicks,
        count(*) filter (where event = 'email_link_clicked' and actor = 'human') as human_clicks
    from email_events
),

messages as (
    select
        count(*) filter (where delivered_at is not null or bounced_at is not null) as attempted,
        count(delivered_at) as delivered,
        count(bounced_at) as bounced,
        count(opened_at) filter (where delivered_at is not null) as opened,
        count(human_opened_at) filter (where delivered_at is not null) as human_opened,
        count(clicked_at) filter (where delivered_at is not null) as clicked,
        count(human_clicked_at) filter (where delivered_at is not null) as human_clicked,
        count(unsubscribed_at) filter (where delivered_at is not null) as unsubscribed,
        count(complained_at) filter (where delivered_at is not null) as complained,
        count(delivered_at) filter (where bounced_at is null) as arrived,
        count(coalesce(opened_at, clicked_at)) filter (where delivered_at is not null) as opened_or_clicked,
        count(coalesce(human_opened_at, human_clicked_at)) filter (
            where delivered_at is not null
        ) as human_opened_or_clicked,
        count(unsubscribed_at) as unsubscribes,
        count(complained_at) as complaints,
        sum(clicks) as clicks,
        sum(human_clicks) as human_clicks
    from email_messages
),

-- What events have contributed that were deleted for their age, to campaigns and to their days, is in no other view.
kept as (
    select
        is_by_day,
        sum((figures ->> 'attempted')::numeric) as attempted,
        sum((figures ->> 'delivered')::numeric) as delivered,
        sum((figures ->> 'bounced')::numeric) as bounced,
        sum((figures ->> 'opened')::numeric) as opened,
        sum((figures ->> 'human_opened')::numeric) as human_opened,
        sum((figures ->> 'clicked')::numeric) as clicked,
        sum((figures ->> 'human_clicked')::numeric) as human_clicked,
        sum((figures ->> 'unsubscribed')::numeric) as unsubscribed,
        sum((figures ->> 'complained')::numeric) as complained,
        sum((figures ->> 'arrived')::numeric) as arrived,
        sum((figures ->> 'seen')::numeric) as opened_or_clicked,
        sum((figures ->> 'human_seen')::numeric) as human_opened_or_clicked,
        sum((figures ->> 'converted')::numeric) as converted,
        sum((figures ->> 'conversions')::numeric) as conversions,
        sum((figures ->> 'revenue')::numeric) as revenue
    from (
        select
            false as is_by_day,
            figures
        from retained_campaigns
        union all
        select
            true,
            figures
        from retained_campaign_days
    ) as retained
    group by is_by_day
),

in_campaigns as (
    select
        sum(campaigns.attempted) - coalesce(max(kept.attempted), 0) as attempted,
        sum(campaigns.delivered) - coalesce(max(kept.delivered), 0) as delivered,
        sum(campaigns.bounced) - coalesce(max(kept.bounced), 0) as bounced,
        sum(campaigns.opened) - coalesce(max(kept.opened), 0) as opened,
        sum(campaigns.human_opened) - coalesce(max(kept.human_opened), 0) as human_opened,
        sum(campaigns.clicked) - coalesce(max(kept.clicked), 0) as clicked,
        sum(campaigns.human_clicked) - coalesce(max(kept.human_clicked), 0) as human_clicked,
        sum(campaigns.unsubscribed) - coalesce(max(kept.unsubscribed), 0) as unsubscribed,
        sum(campaigns.complained) - coalesce(max(kept.complained), 0) as complained,
        sum(campaigns.arrived) - coalesce(max(kept.arrived), 0) as arrived,
        sum(campaigns.opened_or_clicked) - coalesce(max(kept.opened_or_clicked), 0) as opened_or_clicked,
        sum(campaigns.human_opened_or_clicked)
        - coalesce(max(kept.human_opened_or_clicked), 0) as human_opened_or_clicked,
        sum(campaigns.converted) - coalesce(max(kept.converted), 0) as converted,
        sum(campaigns.conversions) - coalesce(max(kept.conversions), 0) as conversions,
        sum(campaigns.revenue) - coalesce(max(kept.revenue), 0) as revenue
    from campaigns
    left join kept on not kept.is_by_day
),

days as (
    select
        sum(campaign_days.attempted) - coalesce(max(kept.attempted), 0) as attempted,
        sum(campaign_days.delivered) - coalesce(max(kept.delivered), 0) as delivered,
        sum(campaign_days.bounced) - coalesce(max(kept.bounced), 0) as bounced,
        sum(campaign_days.opened) - coalesce(max(kept.opened), 0) as opened,
        sum(campaign_days.human_opened) - coalesce(max(kept.human_opened), 0) as human_opened,
        sum(campaign_days.clicked) - coalesce(max(kept.clicked), 0) as clicked,
        sum(campaign_days.human_clicked) - coalesce(max(kept.human_clicked), 0) as human_clicked,
        sum(campaign_days.unsubscribed) - coalesce(max(kept.unsubscribed), 0) as unsubscribed,
        sum(campaign_days.complained) - coalesce(max(kept.complained), 0) as complained,
        sum(campaign_days.arrived) - coalesce(max(kept.arrived), 0) as arrived,
        sum(campaign_days.opened_or_clicked) - coalesce(max(kept.opened_or_clicked), 0) as opened_or_clicked,
        sum(campaign_days.human_opened_or_clicked)
        - coalesce(max(kept.human_opened_or_clicked), 0) as human_opened_or_clicked,
        sum(campaign_days.converted) - coalesce(max(kept.converted), 0) as converted,
        sum(campaign_days.conversions) - coalesce(max(kept.conversions), 0) as conversions,
        sum(campaign_days.revenue) - coalesce(max(kept.revenue), 0) as revenue
    from campaign_days
    left join kept on kept.is_by_day
),

people as (
    select
        sum(delivered) as delivered,
        sum(bounced) as bounced,
        sum(human_opened) as human_opened,
        sum(human_clicked) as human_clicked,
        sum(attributed_revenue) as revenue,
        count(first_delivered_at) as people
    from recipients
),

domains as (
    select
        sum(attempted) as attempted,
        sum(delivered) as delivered,
        sum(bounced) as bounced,
        sum(opened) as opened,
        sum(human_opened) as human_opened,
        sum(complained) as complained,
        sum(arrived) as arrived
    from mailbox_domains
),

domain_days as (
    select
        sum(attempted) as attempted,
        sum(delivered) as delivered,
        sum(bounced) as bounced,
        sum(opened) as opened,
        sum(human_opened) as human_opened,
        sum(clicked) as clicked,
        sum(human_clicked) as human_clicked,
        sum(unsubscribed) as unsubscribed,
        sum(complained) as complained,
        sum(arrived) as arrived
    from mailbox_domain_days
),

hours as (
    select
        sum(delivered) as delivered,
        sum(opened) as opened,
        sum(human_opened) as human_opened,
        sum(clicked) as clicked,
        sum(human_clicked) as human_clicked,
        sum(unsubscribed) as unsubscribed
    from send_times
),

list_days as (
    select
        sum(first_deliveries) as first_deliveries,
        sum(unsubscribed) as unsubscribed,
        sum(complained) as complained,
        sum(bounced) as bounced
    from list_growth
),

weeks as (
    select sum(people) filter (where weeks_since = 0) as people
    from cohorts
),

clicked_links as (
    select
        sum(clicks) as clicks,
        sum(human_clicks) as human_clicks
    from links
),

clicked_days as (
    select
        sum(clicks) as clicks,
        sum(human_clicks) as human_clicks
    from link_days
),

credited as (
    select
        sum(credit) as conversions,
        sum(attributed_revenue) as revenue
    from conversions_attributed
    where is_default
),

credited_days as (
    select
        sum(conversions) as conversions,
        sum(attributed_revenue) as revenue
    from attributed_revenue_days
    where is_default
)

select
    sums.figure,
    sums.place,
    sums.view_name,
    trim_scale(coalesce(sums.total, 0)) as total
from events
cross join messages
cross join in_campaigns
cross join days
cross join people
cross join domains
cross join domain_days
cross join hours
cross join list_days
cross join weeks
cross join clicked_links
cross join clicked_days
cross join credited
cross join credited_days
cross join lateral (
    values
    ('attempted', 1, 'email_messages', messages.attempted::numeric),
    ('attempted', 2, 'campaigns', in_campaigns.attempted),
    ('attempted', 3, 'campaign_days', days.attempted),
    ('attempted', 4, 'mailbox_domains', domains.attempted),
    ('attempted', 5, 'mailbox_domain_days', domain_days.attempted),
    ('delivered', 1, 'email_events', events.delivered),
    ('delivered', 2, 'email_messages', messages.delivered),
    ('delivered', 3, 'campaigns', in_campaigns.delivered),
    ('delivered', 4, 'campaign_days', days.delivered),
    ('delivered', 5, 'recipients', people.delivered),
    ('delivered', 6, 'mailbox_domains', domains.delivered),
    ('delivered', 7, 'mailbox_domain_days', domain_days.delivered),
    ('delivered', 8, 'send_times', hours.delivered),
    ('bounced', 1, 'email_messages', messages.bounced),
    ('bounced', 2, 'campaigns', in_campaigns.bounced),
    ('bounced', 3, 'campaign_days', days.bounced),
    ('bounced', 4, 'recipients', people.bounced),
    ('bounced', 5, 'mailbox_domains', domains.bounced),
    ('bounced', 6, 'mailbox_domain_days', domain_days.bounced),
    ('bounced', 7, 'list_growth', list_days.bounced),
    ('arrived', 1, 'email_messages', messages.arrived),
    ('arrived', 2, 'campaigns', in_campaigns.arrived),
    ('arrived', 3, 'campaign_days', days.arrived),
    ('arrived', 4, 'mailbox_domains', domains.arrived),
    ('arrived', 5, 'mailbox_domain_days', domain_days.arrived),
    ('opened', 1, 'email_messages', messages.opened),
    ('opened', 2, 'campaigns', in_campaigns.opened),
    ('opened', 3, 'campaign_days', days.opened),
    ('opened', 4, 'mailbox_domains', domains.opened),
    ('opened', 5, 'mailbox_domain_days', domain_days.opened),
    ('opened', 6, 'send_times', hours.opened),
    ('human_opened', 1, 'email_messages', messages.human_opened),
    ('human_opened', 2, 'campaigns', in_campaigns.human_opened),
    ('human_opened', 3, 'campaign_days', days.human_opened),
    ('human_opened', 4, 'recipients', people.human_opened),
    ('human_opened', 5, 'mailbox_domains', domains.human_opened),
    ('human_opened', 6, 'mailbox_domain_days', domain_days.human_opened),
    ('human_opened', 7, 'send_times', hours.human_opened),
    ('clicked', 1, 'email_messages', messages.clicked),
    ('clicked', 2, 'campaigns', in_campaigns.clicked),
    ('clicked', 3, 'campaign_days', days.clicked),
    ('clicked', 4, 'mailbox_domain_days', domain_days.clicked),
    ('clicked', 5, 'send_times', hours.clicked),
    ('human_clicked', 1, 'email_messages', messages.human_clicked),
    ('human_clicked', 2, 'campaigns', in_campaigns.human_clicked),
    ('human_clicked', 3, 'campaign_days', days.human_clicked),
    ('human_clicked', 4, 'recipients', people.human_clicked),
    ('human_clicked', 5, 'mailbox_domain_days', domain_days.human_clicked),
    ('human_clicked', 6, 'send_times', hours.human_clicked),
    ('opened_or_clicked', 1, 'email_messages', messages.opened_or_clicked),
    ('opened_or_clicked', 2, 'campaigns', in_campaigns.opened_or_clicked),
    ('opened_or_clicked', 3, 'campaign_days', days.opened_or_clicked),
    ('human_opened_or_clicked', 1, 'email_messages', messages.human_opened_or_clicked),
    ('human_opened_or_clicked', 2, 'campaigns', in_campaigns.human_opened_or_clicked),
    ('human_opened_or_clicked', 3, 'campaign_days', days.human_opened_or_clicked),
    ('clicks', 1, 'email_events', events.clicks),
    ('clicks', 2, 'email_messages', messages.clicks),
    ('clicks', 3, 'links', clicked_links.clicks),
    ('clicks', 4, 'link_days', clicked_days.clicks),
    ('human_clicks', 1, 'email_events', events.human_clicks),
    ('human_clicks', 2, 'email_messages', messages.human_clicks),
    ('human_clicks', 3, 'links', clicked_links.human_clicks),
    ('human_clicks', 4, 'link_days', clicked_days.human_clicks),
    ('unsubscribed', 1, 'email_messages', messages.unsubscribed),
    ('unsubscribed', 2, 'campaigns', in_campaigns.unsubscribed),
    ('unsubscribed', 3, 'campaign_days', days.unsubscribed),
    ('unsubscribed', 4, 'mailbox_domain_days', domain_days.unsubscribed),
    ('unsubscribed', 5, 'send_times', hours.unsubscribed),
    ('unsubscribes', 1, 'email_messages', messages.unsubscribes),
    ('unsubscribes', 2, 'list_growth', list_days.unsubscribed),
    ('complained', 1, 'email_messages', messages.complained),
    ('complained', 2, 'campaigns', in_campaigns.complained),
    ('complained', 3, 'campaign_days', days.complained),
    ('complained', 4, 'mailbox_domains', domains.complained),
    ('complained', 5, 'mailbox_domain_days', domain_days.complained),
    ('complaints', 1, 'email_messages', messages.complaints),
    ('complaints', 2, 'list_growth', list_days.complained),
    ('people', 1, 'recipients', people.people),
    ('people', 2, 'list_growth', list_days.first_deliveries),
    ('people', 3, 'cohorts', weeks.people),
    ('conversions', 1, 'conversions_attributed', credited.conversions),
    ('conversions', 2, 'campaigns', in_campaigns.conversions),
    ('conversions', 3, 'campaign_days', days.conversions),
    ('conversions', 4, 'attributed_revenue_days', credited_days.conversions),
    ('converted', 1, 'campaigns', in_campaigns.converted),
    ('converted', 2, 'campaign_days', days.converted),
    ('revenue', 1, 'conversions_attributed', credited.revenue),
    ('revenue', 2, 'campaigns', in_campaigns.revenue),
    ('revenue', 3, 'campaign_days', days.revenue),
    ('revenue', 4, 'recipients', people.revenue),
    ('revenue', 5, 'attributed_revenue_days', credited_days.revenue)
) as sums (figure, place, view_name, total);

comment on view figure_sums is 'One row per figure and view that shows it: its sum there';
