-- One row per message of the stale mailings.
delete from stored_messages as stored
using stale_mailings as stale
where
    stale.person = stored.person
    and stale.campaign_id = stored.campaign_id
    and stale.email_id = stored.email_id;

insert into stored_messages (
    person, campaign_id, email_id, delivery, email, delivered_at, bounced_at, opened_at, last_opened_at,
    human_opened_at, last_human_opened_at, clicked_at, last_clicked_at, human_clicked_at, last_human_clicked_at,
    unsubscribed_at, complained_at, opens, human_opens, clicks, human_clicks
)
with messages as (
    select
        mailing,
        delivery,
        max(email) as email,
        min("timestamp") filter (where event = 'email_delivered') as delivered_at,
        min("timestamp") filter (where event = 'email_bounced') as bounced_at,
        min("timestamp") filter (where event in ('email_opened', 'email_machine_opened')) as opened_at,
        max("timestamp") filter (where event in ('email_opened', 'email_machine_opened')) as last_opened_at,
        min("timestamp") filter (where event = 'email_opened' and actor = 'human') as human_opened_at,
        max("timestamp") filter (where event = 'email_opened' and actor = 'human') as last_human_opened_at,
        min("timestamp") filter (where event = 'email_link_clicked') as clicked_at,
        max("timestamp") filter (where event = 'email_link_clicked') as last_clicked_at,
        min("timestamp") filter (where event = 'email_link_clicked' and actor = 'human') as human_clicked_at,
        max("timestamp") filter (where event = 'email_link_clicked' and actor = 'human') as last_human_clicked_at,
        min("timestamp") filter (where event = 'email_unsubscribed') as unsubscribed_at,
        min("timestamp") filter (where event = 'email_marked_as_spam') as complained_at,
        count(*) filter (where event in ('email_opened', 'email_machine_opened')) as opens,
        count(*) filter (where event = 'email_opened' and actor = 'human') as human_opens,
        count(*) filter (where event = 'email_link_clicked') as clicks,
        count(*) filter (where event = 'email_link_clicked' and actor = 'human') as human_clicks
    from judged_events
    group by mailing, delivery
)

select
    stale.person,
    stale.campaign_id,
    stale.email_id,
    messages.delivery,
    messages.email,
    messages.delivered_at,
    messages.bounced_at,
    messages.opened_at,
    messages.last_opened_at,
    messages.human_opened_at,
    messages.last_human_opened_at,
    messages.clicked_at,
    messages.last_clicked_at,
    messages.human_clicked_at,
    messages.last_human_clicked_at,
    messages.unsubscribed_at,
    messages.complained_at,
    messages.opens,
    messages.human_opens,
    messages.clicks,
    messages.human_clicks
from messages
inner join stale_mailings as stale on messages.mailing = stale.mailing;

analyze stored_messages;

-- The latest name of a campaign wins.
insert into stored_names as stored (campaign_id, campaign_name, named_at)
select distinct on (campaign_id)
    campaign_id,
    campaign_name,
    case when campaign_name is not null then "timestamp" end as named_at
from new_events
order by campaign_id, (campaign_name is null), "timestamp" desc, campaign_name desc
on conflict (campaign_id) do update set campaign_name = excluded.campaign_name, named_at = excluded.named_at
where
    stored.named_at is null
    or (excluded.named_at, excluded.campaign_name) > (stored.named_at, stored.campaign_name);
