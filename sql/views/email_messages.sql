-- One row per message: the n-th delivery of an e-mail of a campaign to a person.
--
-- Delivery 0 holds the events before any delivery: bounces, and opens or clicks whose delivery was never reported.
create or replace view email_messages as
select
    people.name as person,
    stored_names.campaign_id,
    mailings.email_id,
    stored.delivery,
    addresses.name as email,
    nullif(split_part(addresses.name, '@', -1), '') as mailbox_domain,
    stored.delivered_at,
    stored.bounced_at,
    stored.opened_at,
    stored.last_opened_at,
    stored.human_opened_at,
    stored.last_human_opened_at,
    stored.clicked_at,
    stored.last_clicked_at,
    stored.human_clicked_at,
    stored.last_human_clicked_at,
    stored.unsubscribed_at,
    stored.complained_at,
    coalesce(stored.opens, 0)::bigint as opens,
    coalesce(stored.human_opens, 0)::bigint as human_opens,
    coalesce(stored.clicks, 0)::bigint as clicks,
    coalesce(stored.human_clicks, 0)::bigint as human_clicks,
    stored_names.campaign_name,
    (extract(epoch from stored.human_opened_at - stored.delivered_at) / 60)::double precision as minutes_to_open,
    (extract(epoch from stored.human_clicked_at - stored.delivered_at) / 60)::double precision as minutes_to_click /* dimensions */
from stored_messages as stored /* join dimensions of stored */
left join stored_people as people on stored.person = people.person
left join stored_people as addresses on stored.address = addresses.person
left join stored_mailings as mailings on stored.mailing = mailings.mailing
left join stored_names on mailings.campaign = stored_names.campaign;

comment on view email_messages is 'One row per message: the n-th delivery of an e-mail of a campaign to a person';
comment on column email_messages.person is 'The recipient: a user id, else an e-mail address';
comment on column email_messages.campaign_id is 'The campaign; empty if the events have none';
comment on column email_messages.email_id is 'The e-mail; empty if the events have none';
comment on column email_messages.delivery is 'Number of the delivery of this e-mail to this person, from 1; 0 for events before any delivery';
comment on column email_messages.email is 'The address it was sent to';
comment on column email_messages.mailbox_domain is 'The domain of the address';
comment on column email_messages.delivered_at is 'When it was delivered; null for delivery 0';
comment on column email_messages.bounced_at is 'Time of its first bounce';
comment on column email_messages.opened_at is 'When it was opened first, by a person or a machine';
comment on column email_messages.last_opened_at is 'When it was opened last, by a person or a machine';
comment on column email_messages.human_opened_at is 'When a person opened it first';
comment on column email_messages.last_human_opened_at is 'When a person opened it last';
comment on column email_messages.clicked_at is 'When it was clicked first, by a person or a machine';
comment on column email_messages.last_clicked_at is 'When it was clicked last, by a person or a machine';
comment on column email_messages.human_clicked_at is 'When a person clicked it first';
comment on column email_messages.last_human_clicked_at is 'When a person clicked it last';
comment on column email_messages.unsubscribed_at is 'When the recipient unsubscribed by it';
comment on column email_messages.complained_at is 'When the recipient marked it as spam';
comment on column email_messages.opens is 'Opens, by people and machines';
comment on column email_messages.human_opens is 'Opens by people';
comment on column email_messages.clicks is 'Clicks, by people and machines';
comment on column email_messages.human_clicks is 'Clicks by people';
comment on column email_messages.campaign_name is 'Latest name of the campaign';
comment on column email_messages.minutes_to_open is 'Minutes from the delivery to the first open by a person';
comment on column email_messages.minutes_to_click is 'Minutes from the delivery to the first click by a person';
