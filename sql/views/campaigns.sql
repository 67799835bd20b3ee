-- One row per campaign: counts and rates of its messages, conversions and revenue.
--
-- Figures count messages; those that begin with recipients count people; human_ excludes opens and clicks by machines. Every
-- rate is a share of a whole that contains it, so none exceeds 1; without a whole it is null.
create or replace view campaigns as
select
    campaign_names.campaign_id,
    campaign_names.campaign_name,
    campaign_names.is_transactional,
    stored.first_delivered_at,
    stored.last_delivered_at,
    stored.attempted,
    stored.delivered,
    stored.bounced,
    stored.opened,
    stored.human_opened,
    stored.clicked,
    stored.human_clicked,
    stored.unsubscribed,
    stored.complained,
    stored.recipients,
    stored.recipients_opened,
    stored.recipients_human_opened,
    stored.recipients_clicked,
    stored.recipients_human_clicked,
    round(stored.arrived::numeric / nullif(stored.attempted, 0), 4) as delivery_rate,
    round(stored.bounced::numeric / nullif(stored.attempted, 0), 4) as bounce_rate,
    round(stored.opened::numeric / nullif(stored.delivered, 0), 4) as open_rate,
    round(stored.human_opened::numeric / nullif(stored.delivered, 0), 4) as human_open_rate,
    round(stored.clicked::numeric / nullif(stored.delivered, 0), 4) as click_rate,
    round(stored.human_clicked::numeric / nullif(stored.delivered, 0), 4) as human_click_rate,
    round(stored.clicked::numeric / nullif(stored.seen, 0), 4) as click_to_open_rate,
    round(stored.human_clicked::numeric / nullif(stored.human_seen, 0), 4) as human_click_to_open_rate,
    round(stored.recipients_opened::numeric / nullif(stored.recipients, 0), 4) as recipient_open_rate,
    round(stored.recipients_human_opened::numeric / nullif(stored.recipients, 0), 4) as recipient_human_open_rate,
    round(stored.recipients_clicked::numeric / nullif(stored.recipients, 0), 4) as recipient_click_rate,
    round(stored.recipients_human_clicked::numeric / nullif(stored.recipients, 0), 4) as recipient_human_click_rate,
    round(stored.unsubscribed::numeric / nullif(stored.delivered, 0), 4) as unsubscribe_rate,
    round(stored.complained::numeric / nullif(stored.delivered, 0), 4) as complaint_rate,
    make_interval(secs => stored.seconds_to_open[1]) as time_to_open_median,
    make_interval(secs => stored.seconds_to_open[2]) as time_to_open_p90,
    make_interval(secs => stored.seconds_to_click[1]) as time_to_click_median,
    make_interval(secs => stored.seconds_to_click[2]) as time_to_click_p90,
    trim_scale(stored.conversions) as conversions,
    trim_scale(stored.revenue) as revenue,
    round(stored.converted::numeric / nullif(stored.delivered, 0), 4) as conversion_rate,
    round(stored.revenue / nullif(stored.delivered, 0), 4) as revenue_per_email,
    stored.seconds_to_open[1] / 60 as minutes_to_open_median,
    stored.seconds_to_open[2] / 60 as minutes_to_open_p90,
    stored.seconds_to_click[1] / 60 as minutes_to_click_median,
    stored.seconds_to_click[2] / 60 as minutes_to_click_p90,
    stored.arrived,
    stored.seen as opened_or_clicked,
    stored.human_seen as human_opened_or_clicked,
    stored.converted
from stored_campaigns as stored
inner join campaign_names on stored.campaign = campaign_names.campaign;

comment on view campaigns is 'One row per campaign: counts and rates of its messages, conversions and revenue';
comment on column campaigns.campaign_id is 'The campaign; empty for e-mails without one';
comment on column campaigns.campaign_name is 'Its latest name';
comment on column campaigns.is_transactional is 'Whether it is among the setting transactional_campaigns';
comment on column campaigns.first_delivered_at is 'Its first delivery';
comment on column campaigns.last_delivered_at is 'Its last delivery';
comment on column campaigns.attempted is 'Messages that were delivered or bounced';
comment on column campaigns.delivered is 'Messages that were delivered';
comment on column campaigns.bounced is 'Messages that bounced, at once or after a delivery';
comment on column campaigns.opened is 'Delivered messages that were opened, by people or machines';
comment on column campaigns.human_opened is 'Delivered messages that a person opened';
comment on column campaigns.clicked is 'Delivered messages that were clicked, by people or machines';
comment on column campaigns.human_clicked is 'Delivered messages that a person clicked';
comment on column campaigns.unsubscribed is 'Delivered messages by which the recipient unsubscribed';
comment on column campaigns.complained is 'Delivered messages that the recipient marked as spam';
comment on column campaigns.recipients is 'People with a delivery; people of several campaigns overlap: do not add up';
comment on column campaigns.recipients_opened is 'People with a delivered message that was opened, by them or a machine; people of several campaigns overlap: do not add up';
comment on column campaigns.recipients_human_opened is 'People who opened a delivered message; people of several campaigns overlap: do not add up';
comment on column campaigns.recipients_clicked is 'People with a delivered message that was clicked, by them or a machine; people of several campaigns overlap: do not add up';
comment on column campaigns.recipients_human_clicked is 'People who clicked a delivered message; people of several campaigns overlap: do not add up';
comment on column campaigns.delivery_rate is 'Messages delivered and not bounced ÷ attempted; over several campaigns: sum(arrived) / sum(attempted)';
comment on column campaigns.bounce_rate is 'bounced ÷ attempted; over several campaigns: sum(bounced) / sum(attempted)';
comment on column campaigns.open_rate is 'opened ÷ delivered; over several campaigns: sum(opened) / sum(delivered)';
comment on column campaigns.human_open_rate is 'human_opened ÷ delivered; over several campaigns: sum(human_opened) / sum(delivered)';
comment on column campaigns.click_rate is 'clicked ÷ delivered; over several campaigns: sum(clicked) / sum(delivered)';
comment on column campaigns.human_click_rate is 'human_clicked ÷ delivered; over several campaigns: sum(human_clicked) / sum(delivered)';
comment on column campaigns.click_to_open_rate is 'clicked ÷ delivered messages opened or clicked; over several campaigns: sum(clicked) / sum(opened_or_clicked)';
comment on column campaigns.human_click_to_open_rate is 'human_clicked ÷ delivered messages a person opened or clicked; over several campaigns: sum(human_clicked) / sum(human_opened_or_clicked)';
comment on column campaigns.recipient_open_rate is 'recipients_opened ÷ recipients, of this campaign alone: neither add up nor average';
comment on column campaigns.recipient_human_open_rate is 'recipients_human_opened ÷ recipients, of this campaign alone: neither add up nor average';
comment on column campaigns.recipient_click_rate is 'recipients_clicked ÷ recipients, of this campaign alone: neither add up nor average';
comment on column campaigns.recipient_human_click_rate is 'recipients_human_clicked ÷ recipients, of this campaign alone: neither add up nor average';
comment on column campaigns.unsubscribe_rate is 'unsubscribed ÷ delivered; over several campaigns: sum(unsubscribed) / sum(delivered)';
comment on column campaigns.complaint_rate is 'complained ÷ delivered; over several campaigns: sum(complained) / sum(delivered)';
comment on column campaigns.time_to_open_median is 'Median time from delivery to the first open by a person, to 1 %; of this campaign alone: neither add up nor average';
comment on column campaigns.time_to_open_p90 is '90th percentile of the time from delivery to the first open by a person, to 1 %; of this campaign alone: neither add up nor average';
comment on column campaigns.time_to_click_median is 'Median time from delivery to the first click by a person, to 1 %; of this campaign alone: neither add up nor average';
comment on column campaigns.time_to_click_p90 is '90th percentile of the time from delivery to the first click by a person, to 1 %; of this campaign alone: neither add up nor average';
comment on column campaigns.conversions is 'Conversions credited to it by the default model';
comment on column campaigns.revenue is 'Revenue credited to it by the default model, less refunds, in the reporting currency';
comment on column campaigns.conversion_rate is 'Delivered messages with a credited conversion ÷ delivered; over several campaigns: sum(converted) / sum(delivered)';
comment on column campaigns.revenue_per_email is 'revenue ÷ delivered; over several campaigns: sum(revenue) / sum(delivered)';
comment on column campaigns.minutes_to_open_median is 'time_to_open_median in minutes; of this campaign alone: neither add up nor average';
comment on column campaigns.minutes_to_open_p90 is 'time_to_open_p90 in minutes; of this campaign alone: neither add up nor average';
comment on column campaigns.minutes_to_click_median is 'time_to_click_median in minutes; of this campaign alone: neither add up nor average';
comment on column campaigns.minutes_to_click_p90 is 'time_to_click_p90 in minutes; of this campaign alone: neither add up nor average';
comment on column campaigns.arrived is 'Messages delivered and not bounced';
comment on column campaigns.opened_or_clicked is 'Delivered messages that were opened or clicked, by people or machines';
comment on column campaigns.human_opened_or_clicked is 'Delivered messages that a person opened or clicked';
comment on column campaigns.converted is 'Delivered messages with a credited conversion';
