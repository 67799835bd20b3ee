-- Add to the figures of campaigns by day what deleted events have contributed to them.
insert into stored_dimensions (parts)
select distinct kept.dimensions
from retained_campaign_days as kept
left join stored_dimensions as stored on kept.dimensions = stored.parts
where kept.dimensions <> '{}' and stored.dimension is null;

create temporary table whole_days on commit drop as
select (
    jsonb_populate_record(
        null::stored_campaign_days,
        jsonb_build_object(
            'campaign', names.campaign, 'delivery_day', kept.delivery_day,
            'dimension', coalesce(dimensions.dimension, 0)
        )
        || (
            select jsonb_object_agg(
                figures.key, figures.value::numeric + coalesce((to_jsonb(stored) ->> figures.key)::numeric, 0)
            )
            from jsonb_each_text(kept.figures) as figures
        )
    )
).*
from retained_campaign_days as kept
inner join stored_names as names on kept.campaign_id = names.campaign_id
left join stored_dimensions as dimensions on kept.dimensions = dimensions.parts
left join stored_campaign_days as stored
    on names.campaign = stored.campaign
    and kept.delivery_day = stored.delivery_day
    and stored.dimension = coalesce(dimensions.dimension, 0);

delete from stored_campaign_days
where (campaign, delivery_day, dimension) in (select campaign, delivery_day, dimension from whole_days);

insert into stored_campaign_days
select * from whole_days;
