-- What a refresh does beside taking new events: what changed settings touch is computed again.
-- The steps read it. Settings as they were at the last refresh are in `refreshed`.
create temporary table this_refresh on commit drop as
with changed as (
    select settings.name
    from settings
    inner join refreshed on refreshed.settings ->> settings.name is distinct from settings.value
)

select
    exists (select from stored_events) as had_events,
    exists (select from stored_conversions) as had_conversions,
    exists (select from stored_site_days) as had_site_rows,
    exists (select from chunks) as reads_visits,
    {is_whole} or coalesce(bool_or(name = 'placeholder_ids'), false) as reads_whole_site,
    coalesce(bool_or(name in (
        'proxy_agents', 'machine_agents', 'machine_open_seconds', 'machine_click_seconds', 'burst_seconds',
        'burst_links'
    )), false) as judges_again,
    coalesce(bool_or(name in ('proxy_agents', 'machine_agents', 'machine_open_seconds')), false) as judges_opens_again,
    coalesce(bool_or(starts_with(name, 'window_') or name in ('default_model', 'transactional_campaigns')), false)
    as credits_again,
    coalesce(bool_or(name = 'visit_window'), false) as looks_for_visits_again,
    coalesce(bool_or(name = 'reporting_time_zone'), false) as dates_again,
    coalesce(
        (select read_currency(value) from settings where name = 'reporting_currency'),
        (
            select reporting_currency from refreshed
            where read_currency(refreshed.settings ->> 'reporting_currency') is null
        )
    ) as reporting_currency,
    (select reporting_currency from refreshed) as old_reporting_currency,
    (select jsonb_object_agg(settings.name, settings.value) from settings) as settings
from changed
