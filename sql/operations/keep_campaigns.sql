-- What events that are about to leave the figures have contributed to campaigns: figures as they were less those without
-- these events. Of figures that are no sums, what they were.
insert into retained_campaigns (
    campaign_id, campaign_name, named_at, first_delivered_at, last_delivered_at, seconds_to_open, seconds_to_click,
    figures
)
select
    names.campaign_id,
    names.campaign_name,
    names.named_at,
    old.first_delivered_at,
    old.last_delivered_at,
    old.seconds_to_open,
    old.seconds_to_click,
    (
        select jsonb_object_agg(
            figures.key, figures.value::numeric - coalesce((to_jsonb(new) ->> figures.key)::numeric, 0)
        )
        from jsonb_each_text(
            to_jsonb(old) - array[
                'campaign', 'first_delivered_at', 'last_delivered_at', 'seconds_to_open', 'seconds_to_click'
            ]
        ) as figures
    ) as figures
from stored_campaigns as old
inner join stored_names as names on old.campaign = names.campaign
left join fresh_names on names.campaign_id = fresh_names.campaign_id
left join fresh_campaigns as new on fresh_names.campaign = new.campaign
on conflict (campaign_id) do update set
campaign_name = excluded.campaign_name,
named_at = excluded.named_at,
first_delivered_at = excluded.first_delivered_at,
last_delivered_at = excluded.last_delivered_at,
seconds_to_open = excluded.seconds_to_open,
seconds_to_click = excluded.seconds_to_click,
figures = excluded.figures;

delete from retained_campaigns
where not exists (select from jsonb_each_text(figures) as kept where kept.value::numeric <> 0);

insert into retained_campaign_days (campaign_id, delivery_day, dimensions, figures)
select
    names.campaign_id,
    old.delivery_day,
    coalesce(dimensions.parts, '{}') as dimensions,
    (
        select jsonb_object_agg(
            figures.key, figures.value::numeric - coalesce((to_jsonb(new) ->> figures.key)::numeric, 0)
        )
        from jsonb_each_text(to_jsonb(old) - array['campaign', 'delivery_day', 'dimension']) as figures
    ) as figures
from stored_campaign_days as old
inner join stored_names as names on old.campaign = names.campaign
left join stored_dimensions as dimensions on old.dimension = dimensions.dimension
left join fresh_names on names.campaign_id = fresh_names.campaign_id
left join fresh_dimensions on dimensions.parts = fresh_dimensions.parts
left join fresh_campaign_days as new
    on fresh_names.campaign = new.campaign
    and old.delivery_day = new.delivery_day
    and new.dimension = case when old.dimension = 0 then 0 else fresh_dimensions.dimension end
on conflict (campaign_id, delivery_day, dimensions) do update set figures = excluded.figures;

delete from retained_campaign_days
where not exists (select from jsonb_each_text(figures) as kept where kept.value::numeric <> 0);

update retention set is_pending = false;
