-- One row per campaign and step: how many people reached it.
--
-- Each step holds only people of the step before: a click proves an open, a conversion proves a visit. A campaign without
-- deliveries has no rows.
create or replace view campaign_funnel as
with reached as (
    select
        stored_campaigns.campaign,
        stored_campaigns.recipients,
        stored_campaigns.recipients_human_seen,
        stored_campaigns.recipients_human_clicked,
        stored_campaigns.recipients_visited,
        stored_campaigns.recipients_converted
    from stored_campaigns
    where recipients > 0
)

select
    campaign_names.campaign_id,
    campaign_names.campaign_name,
    steps.step_number,
    steps.step,
    steps.people,
    round(steps.people::numeric / nullif(reached.recipients, 0), 4) as share_of_delivered
from reached
inner join campaign_names on reached.campaign = campaign_names.campaign
cross join lateral (
    values
    (1, 'delivered', reached.recipients),
    (2, 'opened', reached.recipients_human_seen),
    (3, 'clicked', reached.recipients_human_clicked),
    (4, 'visited', reached.recipients_visited),
    (5, 'converted', reached.recipients_converted)
) as steps (step_number, step, people);

comment on view campaign_funnel is 'One row per campaign with deliveries and step: how many people reached it';
comment on column campaign_funnel.campaign_id is 'The campaign; empty for e-mails without one';
comment on column campaign_funnel.campaign_name is 'Its latest name';
comment on column campaign_funnel.step_number is 'Place of the step, from 1';
comment on column campaign_funnel.step is 'delivered; opened or clicked by a person; clicked by a person; visited the site within the setting visit_window after a click; converted by the default model';
comment on column campaign_funnel.people is 'People who got so far; people of several campaigns overlap: do not add up';
comment on column campaign_funnel.share_of_delivered is 'people ÷ people of the first step, of this campaign alone: neither add up nor average';
