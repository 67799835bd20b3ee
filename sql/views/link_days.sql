-- One row per campaign, e-mail, link and day of the click, in the time zone of the setting reporting_time_zone.
create or replace view link_days as
select
    campaign_names.campaign_id,
    campaign_names.campaign_name,
    mailings.email_id,
    stored_links.link_id,
    stored_links.link_name,
    stored_links.link_url,
    stored.click_day,
    stored.clicks,
    stored.human_clicks
from stored_link_days as stored
inner join stored_links on stored.mailing = stored_links.mailing and stored.link = stored_links.link
inner join stored_mailings as mailings on stored.mailing = mailings.mailing
inner join campaign_names on mailings.campaign = campaign_names.campaign;

comment on view link_days is 'One row per campaign, e-mail, link and day of the click; all figures add up';
comment on column link_days.campaign_id is 'The campaign; empty for e-mails without one';
comment on column link_days.campaign_name is 'Its latest name';
comment on column link_days.email_id is 'The e-mail';
comment on column link_days.link_id is 'The link';
comment on column link_days.link_name is 'Its latest name';
comment on column link_days.link_url is 'Its latest address';
comment on column link_days.click_day is 'Day of the click, in the reporting time zone';
comment on column link_days.clicks is 'Clicks on that day, by people and machines';
comment on column link_days.human_clicks is 'Clicks by people; how many people clicked is in links';
