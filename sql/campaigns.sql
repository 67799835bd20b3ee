-- One row per campaign: whom it reached, and what these people did with it.
--
-- A recipient counts once in a campaign, however many e-mails he got of it. Opens and clicks are all that were
-- reported, by people and by machines. A rate is a share of the recipients with a delivery, so it never exceeds 1.
create or replace view campaigns as
with events as (
    select campaign_id, campaign_name, coalesce(user_id, anonymous_id) as recipient, event, "timestamp" from email_delivered
    union all
    select campaign_id, campaign_name, coalesce(user_id, anonymous_id), event, "timestamp" from email_opened
    union all
    select campaign_id, campaign_name, coalesce(user_id, anonymous_id), event, "timestamp" from email_link_clicked
    union all
    select campaign_id, campaign_name, coalesce(user_id, anonymous_id), event, "timestamp" from email_bounced
    union all
    select campaign_id, campaign_name, coalesce(user_id, anonymous_id), event, "timestamp" from email_unsubscribed
    union all
    select campaign_id, campaign_name, coalesce(user_id, anonymous_id), event, "timestamp" from email_marked_as_spam
),

-- One row per campaign and recipient.
recipients as (
    select
        campaign_id,
        recipient,
        bool_or(event = 'email_delivered') as is_delivered,
        bool_or(event = 'email_opened') as has_opened,
        bool_or(event = 'email_link_clicked') as has_clicked,
        bool_or(event = 'email_bounced') as has_bounced,
        bool_or(event = 'email_unsubscribed') as has_unsubscribed,
        bool_or(event = 'email_marked_as_spam') as has_complained
    from events
    where campaign_id is not null
    group by campaign_id, recipient
),

counts as (
    select
        campaign_id,
        count(*) filter (where is_delivered) as delivered,
        count(*) filter (where is_delivered and has_opened) as opened,
        count(*) filter (where is_delivered and has_clicked) as clicked,
        count(*) filter (where has_bounced) as bounced,
        count(*) filter (where is_delivered and has_unsubscribed) as unsubscribed,
        count(*) filter (where is_delivered and has_complained) as complained
    from recipients
    group by campaign_id
),

-- A campaign that was renamed is one campaign: its latest name wins.
names as (
    select
        campaign_id,
        (array_agg(campaign_name order by "timestamp" desc) filter (where campaign_name is not null))[1] as campaign_name,
        min("timestamp") filter (where event = 'email_delivered') as first_delivered_at
    from events
    where campaign_id is not null
    group by campaign_id
)

select
    names.campaign_id,
    names.campaign_name,
    names.first_delivered_at,
    counts.delivered,
    counts.opened,
    counts.clicked,
    counts.bounced,
    counts.unsubscribed,
    counts.complained,
    round(counts.opened::numeric / nullif(counts.delivered, 0), 4) as open_rate,
    round(counts.clicked::numeric / nullif(counts.delivered, 0), 4) as click_rate
from counts
inner join names on names.campaign_id = counts.campaign_id;

comment on view campaigns is 'One row per campaign: recipients reached, and what they did';
comment on column campaigns.campaign_id is 'The campaign';
comment on column campaigns.campaign_name is 'Its latest name';
comment on column campaigns.first_delivered_at is 'When its first e-mail was delivered';
comment on column campaigns.delivered is 'Recipients with a delivery';
comment on column campaigns.opened is 'Of these, recipients with an open, by a person or a machine';
comment on column campaigns.clicked is 'Of these, recipients with a click, by a person or a machine';
comment on column campaigns.bounced is 'Recipients with a bounce';
comment on column campaigns.unsubscribed is 'Of those with a delivery, recipients who unsubscribed';
comment on column campaigns.complained is 'Of those with a delivery, recipients who marked an e-mail as spam';
comment on column campaigns.open_rate is 'opened ÷ delivered; null without a delivery';
comment on column campaigns.click_rate is 'clicked ÷ delivered; null without a delivery';
