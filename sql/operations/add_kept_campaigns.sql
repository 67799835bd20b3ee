-- Add to the figures of campaigns what deleted events have contributed to them.
insert into stored_names (campaign_id, campaign_name, named_at)
select
    kept.campaign_id,
    kept.campaign_name,
    kept.named_at
from retained_campaigns as kept
left join stored_names as stored on kept.campaign_id = stored.campaign_id
where stored.campaign_id is null;

create temporary table whole_campaigns on commit drop as
select (
    jsonb_populate_record(
        null::stored_campaigns,
        coalesce(to_jsonb(stored), '{}') || jsonb_build_object('campaign', names.campaign) || (
            select jsonb_object_agg(
            figures.key, figures.value::numeric + coalesce((to_jsonb(stored) ->> figures.key)::numeric, 0)
        )
            from jsonb_each_text(kept.figures) as figures
        )
    )
).*
from retained_campaigns as kept
inner join stored_names as names on kept.campaign_id = names.campaign_id
left join stored_campaigns as stored on names.campaign = stored.campaign;

delete from stored_campaigns
where campaign in (select campaign from whole_campaigns);

insert into stored_campaigns
select * from whole_campaigns;
