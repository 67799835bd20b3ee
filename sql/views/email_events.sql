-- One row per e-mail event: its person, its message, and whether a person or a machine caused it.
--
-- A message is the n-th delivery of an e-mail to a person. An event belongs to the latest delivery before it.
create or replace view email_events as
select
    stored.id,
    stored.original_timestamp,
    case stored.event
        when 'd' then 'email_delivered'
        when 'o' then 'email_opened'
        when 'm' then 'email_machine_opened'
        when 'c' then 'email_link_clicked'
        when 'b' then 'email_bounced'
        when 'u' then 'email_unsubscribed'
        when 's' then 'email_marked_as_spam'
    end as event,
    stored."timestamp",
    case when identities.matched_by = 'u' then recipients.name end as user_id,
    addresses.name as email,
    people.name as person,
    case identities.matched_by
        when 'u' then 'user_id'
        when 'e' then 'email'
        when 'a' then 'ambiguous'
        when 'n' then 'none'
        when 'p' then 'placeholder'
    end as matched_by,
    stored_names.campaign_id,
    titles.campaign_name,
    mailings.email_id,
    titles.email_subject,
    stored.delivery,
    stored.delivered_at,
    targets.link_id,
    targets.link_name,
    targets.link_url,
    case stored.actor when 'h' then 'human' when 'm' then 'machine' when 'u' then 'unknown' end as actor,
    case stored.rule
        when 'r' then 'reported'
        when 'p' then 'proxy'
        when 'a' then 'agent'
        when 'b' then 'burst'
        when 't' then 'too_soon'
        when 'n' then 'no_evidence'
        when 'o' then 'otherwise'
    end as rule,
    stored.id || '@' || coalesce(extract(epoch from stored.original_timestamp)::text, '') as event_key /* dimensions */
from stored_events as stored
left join stored_identities as identities on stored.identity = identities.identity
left join stored_people as recipients on identities.recipient = recipients.person
left join stored_people as addresses on identities.address = addresses.person
left join stored_people as people on stored.person = people.person
left join stored_mailings as mailings on stored.mailing = mailings.mailing
left join stored_names on mailings.campaign = stored_names.campaign
left join stored_titles as titles on stored.title = titles.title /* join dimensions of titles */
left join stored_targets as targets on stored.target = targets.target;

comment on view email_events is 'One row per e-mail event: its person, its message, and whether a person or a machine caused it';
comment on column email_events.id is 'The event: with original_timestamp its key in the collection';
comment on column email_events.original_timestamp is 'When it happened, by the sender''s clock';
comment on column email_events.event is 'The collection it is in';
comment on column email_events."timestamp" is 'When it happened, the sender''s clock corrected';
comment on column email_events.user_id is 'The recipient''s user id, as it was sent; null if it is a placeholder';
comment on column email_events.email is 'The recipient''s e-mail address in one spelling, if it was sent: lower case, the domain in ASCII';
comment on column email_events.person is 'The person: a user id, else an e-mail address; empty for nobody';
comment on column email_events.matched_by is 'How the person was found: by user_id; by email, if it belongs to one user; ambiguous if it belongs to several; none; placeholder if that was sent as the user id';
comment on column email_events.campaign_id is 'The campaign; empty if the event has none';
comment on column email_events.campaign_name is 'Name of the campaign at that time';
comment on column email_events.email_id is 'The e-mail; empty if the event has none';
comment on column email_events.email_subject is 'Subject of the e-mail at that time';
comment on column email_events.delivery is 'Number of the delivery of this e-mail to this person that the event belongs to; 0 before the first';
comment on column email_events.delivered_at is 'Time of that delivery';
comment on column email_events.link_id is 'The link that was clicked';
comment on column email_events.link_name is 'Name of the link that was clicked';
comment on column email_events.link_url is 'Address of the link that was clicked';
comment on column email_events.actor is 'Who opened or clicked: human, machine or unknown; null for other events';
comment on column email_events.rule is 'The rule that decided it: reported, proxy, agent, burst, too_soon, no_evidence, otherwise';
comment on column email_events.event_key is 'Key of the event, never null: id, @, and original_timestamp in seconds from 1970, if any';
