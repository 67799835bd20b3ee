-- One row per e-mail event of every collection, as it is stored.
--
-- An event without a campaign or an e-mail has an empty one.
create or replace view recorded_events as
with events as (
    select
        'email_delivered' as event, id, anonymous_id, user_id, context_user_agent, context_traits_email,
        original_timestamp, "timestamp", uuid_ts, campaign_id, campaign_name, email_id, email_subject,
        null as link_id, null as link_name, null as link_url,
        '' /* dimensions of email_delivered */ as dimensions
    from email_delivered
    union all
    select
        'email_opened', id, anonymous_id, user_id, context_user_agent, context_traits_email,
        original_timestamp, "timestamp", uuid_ts, campaign_id, campaign_name, email_id, email_subject,
        null, null, null,
        '' /* dimensions of email_opened */
    from email_opened
    union all
    select
        'email_machine_opened', id, anonymous_id, user_id, context_user_agent, context_traits_email,
        original_timestamp, "timestamp", uuid_ts, campaign_id, campaign_name, email_id, email_subject,
        null, null, null,
        dimensions
    from machine_opens
    union all
    select
        'email_link_clicked', id, anonymous_id, user_id, context_user_agent, context_traits_email,
        original_timestamp, "timestamp", uuid_ts, campaign_id, campaign_name, email_id, email_subject,
        link_id, link_name, link_url,
        '' /* dimensions of email_link_clicked */
    from email_link_clicked
    union all
    select
        'email_bounced', id, anonymous_id, user_id, context_user_agent, context_traits_email,
        original_timestamp, "timestamp", uuid_ts, campaign_id, campaign_name, email_id, email_subject,
        null, null, null,
        '' /* dimensions of email_bounced */
    from email_bounced
    union all
    select
        'email_unsubscribed', id, anonymous_id, user_id, context_user_agent, context_traits_email,
        original_timestamp, "timestamp", uuid_ts, campaign_id, campaign_name, email_id, email_subject,
        null, null, null,
        '' /* dimensions of email_unsubscribed */
    from email_unsubscribed
    union all
    select
        'email_marked_as_spam', id, anonymous_id, user_id, context_user_agent, context_traits_email,
        original_timestamp, "timestamp", uuid_ts, campaign_id, campaign_name, email_id, email_subject,
        null, null, null,
        '' /* dimensions of email_marked_as_spam */
    from email_marked_as_spam
)

select
    id,
    anonymous_id,
    user_id,
    event,
    context_user_agent,
    context_traits_email,
    original_timestamp,
    "timestamp",
    uuid_ts,
    coalesce(campaign_id, '') as campaign_id,
    campaign_name,
    coalesce(email_id, '') as email_id,
    email_subject,
    link_id,
    link_name,
    link_url,
    dimensions
from events;

comment on view recorded_events is 'One row per e-mail event of every collection, as it is stored';
