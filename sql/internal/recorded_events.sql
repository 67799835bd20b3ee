-- One row per e-mail event of every collection, as it is stored.
--
-- `recipient` identifies the recipient: the user id, else the e-mail address, else what was sent as anonymous id. What the
-- setting placeholder_ids lists identifies nobody, whose `recipient` is empty. An event without a campaign or an e-mail has
-- an empty one. `limit 1` lets each value be computed once.
create or replace view recorded_events as
with events as (
    select
        id, anonymous_id, user_id, event, context_user_agent, context_traits_email, original_timestamp, "timestamp",
        uuid_ts, campaign_id, campaign_name, email_id, email_subject,
        null as link_id, null as link_name, null as link_url
    from email_delivered
    union all
    select
        id, anonymous_id, user_id, event, context_user_agent, context_traits_email, original_timestamp, "timestamp",
        uuid_ts, campaign_id, campaign_name, email_id, email_subject,
        null, null, null
    from email_opened
    union all
    select
        id, anonymous_id, user_id, event, context_user_agent, context_traits_email, original_timestamp, "timestamp",
        uuid_ts, campaign_id, campaign_name, email_id, email_subject,
        null, null, null
    from machine_opens
    union all
    select
        id, anonymous_id, user_id, event, context_user_agent, context_traits_email, original_timestamp, "timestamp",
        uuid_ts, campaign_id, campaign_name, email_id, email_subject,
        link_id, link_name, link_url
    from email_link_clicked
    union all
    select
        id, anonymous_id, user_id, event, context_user_agent, context_traits_email, original_timestamp, "timestamp",
        uuid_ts, campaign_id, campaign_name, email_id, email_subject,
        null, null, null
    from email_bounced
    union all
    select
        id, anonymous_id, user_id, event, context_user_agent, context_traits_email, original_timestamp, "timestamp",
        uuid_ts, campaign_id, campaign_name, email_id, email_subject,
        null, null, null
    from email_unsubscribed
    union all
    select
        id, anonymous_id, user_id, event, context_user_agent, context_traits_email, original_timestamp, "timestamp",
        uuid_ts, campaign_id, campaign_name, email_id, email_subject,
        null, null, null
    from email_marked_as_spam
)

select
    events.id,
    known.user_id,
    events.event,
    events.original_timestamp,
    events."timestamp",
    events.uuid_ts,
    coalesce(events.campaign_id, '') as campaign_id,
    events.campaign_name,
    coalesce(events.email_id, '') as email_id,
    events.email_subject,
    events.link_id,
    events.link_name,
    events.link_url,
    events.context_user_agent,
    named.recipient,
    known.email,
    known.user_id is null and (events.user_id is not null or named.recipient = '') as is_placeholder
-- noqa: disable=ST05,AM09
from events
cross join placeholders
inner join lateral (
    select
        case when lower(trim_blanks(events.user_id)) <> all(placeholders.names) then events.user_id end as user_id,
        lower(trim_blanks(events.anonymous_id)) as anonymous_id,
        normalize_address(events.anonymous_id) as anonymous_address,
        normalize_address(events.context_traits_email) as trait_address
    limit 1
) as sent on true
inner join lateral (
    select
        sent.user_id,
        coalesce(
            case
                when sent.user_id is null and sent.anonymous_address <> all(placeholders.names)
                    then sent.anonymous_address
            end,
            case when sent.trait_address <> all(placeholders.names) then sent.trait_address end
        ) as email
    limit 1
) as known on true
inner join lateral (
    select
        coalesce(
            known.user_id,
            known.email,
            case when sent.anonymous_id <> all(placeholders.names) then sent.anonymous_id end,
            ''
        ) as recipient
    limit 1
) as named on true;

comment on view recorded_events is 'One row per e-mail event of every collection, as it is stored';
