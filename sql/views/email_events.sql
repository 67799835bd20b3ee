-- One row per e-mail event: its person, its message, and whether a person or a machine caused it.
--
-- A message is the n-th delivery of an e-mail to a person. An event belongs to the latest delivery before it.
create or replace view email_events as
select
    id,
    original_timestamp,
    event,
    "timestamp",
    user_id,
    email,
    person,
    matched_by,
    campaign_id,
    campaign_name,
    email_id,
    email_subject,
    delivery,
    delivered_at,
    link_id,
    link_name,
    link_url,
    actor,
    rule
from stored_events;

comment on view email_events is 'One row per e-mail event: its person, its message, and whether a person or a machine caused it';
comment on column email_events.id is 'The event: with original_timestamp its key in the collection';
comment on column email_events.original_timestamp is 'When it happened, by the sender''s clock';
comment on column email_events.event is 'The collection it is in';
comment on column email_events."timestamp" is 'When it happened, the sender''s clock corrected';
comment on column email_events.user_id is 'The recipient''s user id, as it was sent';
comment on column email_events.email is 'The recipient''s e-mail address in lower case, if it was sent';
comment on column email_events.person is 'The person: a user id, else an e-mail address';
comment on column email_events.matched_by is 'How the person was found: by user_id; by email, if it belongs to one user; ambiguous if it belongs to several; none';
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
