-- One row per campaign, e-mail and link: its clicks and the people who clicked it.
--
-- A link is identified by its id, else its address, else its name.
create or replace view links as
select
    campaign_names.campaign_id,
    campaign_names.campaign_name,
    mailings.email_id,
    stored.link_id,
    stored.link_name,
    stored.link_url,
    stored.clicks,
    stored.human_clicks,
    stored.people,
    stored.human_people,
    round(stored.clicks / sum(stored.clicks) over email, 4) as share,
    round(stored.human_clicks / nullif(sum(stored.human_clicks) over email, 0), 4) as human_share,
    stored.first_clicked_at,
    stored.last_clicked_at
from stored_links as stored
inner join stored_mailings as mailings on stored.mailing = mailings.mailing
inner join campaign_names on mailings.campaign = campaign_names.campaign
window email as (partition by campaign_names.campaign_id, mailings.email_id);

comment on view links is 'One row per campaign, e-mail and link: its clicks and the people who clicked it';
comment on column links.campaign_id is 'The campaign; empty for e-mails without one';
comment on column links.campaign_name is 'Its latest name';
comment on column links.email_id is 'The e-mail';
comment on column links.link_id is 'The link';
comment on column links.link_name is 'Its latest name';
comment on column links.link_url is 'Its latest address';
comment on column links.clicks is 'Clicks, by people and machines';
comment on column links.human_clicks is 'Clicks by people';
comment on column links.people is 'People whose message was clicked, by them or a machine; people of several links overlap: do not add up';
comment on column links.human_people is 'People who clicked; people of several links overlap: do not add up';
comment on column links.share is 'clicks ÷ clicks on all links of the e-mail; adds up over the links of one e-mail, over several e-mails: sum(clicks) / all clicks';
comment on column links.human_share is 'human_clicks ÷ clicks by people on all links of the e-mail; adds up over the links of one e-mail';
comment on column links.first_clicked_at is 'Its first click, by a person or a machine';
comment on column links.last_clicked_at is 'Its last click, by a person or a machine';
