-- One row per campaign: its latest name, however often it was renamed, and whether it is transactional.
create or replace view campaign_names as
with transactional as (
    select regexp_split_to_array(nullif(trim(value), ''), '\s*,\s*') as campaign_ids
    from settings
    where name = 'transactional_campaigns'
)

select
    stored_names.campaign_id,
    stored_names.campaign_name,
    coalesce(stored_names.campaign_id = any(transactional.campaign_ids), false) as is_transactional,
    stored_names.campaign
from stored_names
cross join transactional;

comment on view campaign_names is 'One row per campaign: its latest name, and whether it is transactional';
