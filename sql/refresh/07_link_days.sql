-- Clicks of each link by day, and its first and last click.
--
-- Reads  judged_events, which has all clicks of a mailing with news; in another time zone, all stored clicks.
-- Writes stored_link_days, stored_links.
-- Cost   follows the clicks of the mailings with news.
create temporary table link_day_changes on commit drop as
with clicks as (
    select
        mailing,
        link,
        "timestamp",
        (place is null)::int as clicks,
        (actor = 'h')::int - coalesce((old_actor = 'h')::int, 0) as human_clicks
    from judged_events
    where
        event = 'c'
        and (place is null or actor is distinct from old_actor)
        and (select not dates_again from this_refresh)
    union all
    select
        stored.mailing,
        coalesce(targets.link_id, targets.link_url, targets.link_name, '') as link,
        stored."timestamp",
        1 as clicks,
        (stored.actor = 'h')::int as human_clicks
    from stored_events as stored
    inner join stored_targets as targets on stored.target = targets.target
    where stored.event = 'c' and (select dates_again from this_refresh)
)

select
    clicks.mailing,
    clicks.link,
    (clicks."timestamp" at time zone settings.value)::date as click_day,
    sum(clicks.clicks) as clicks,
    sum(clicks.human_clicks) as human_clicks
from clicks
inner join settings on settings.name = 'reporting_time_zone'
group by clicks.mailing, clicks.link, (clicks."timestamp" at time zone settings.value)::date;

analyze link_day_changes;

delete from stored_link_days
where (select dates_again from this_refresh);

insert into stored_link_days as stored (mailing, link, click_day, clicks, human_clicks)
select
    mailing,
    link,
    click_day,
    clicks,
    human_clicks
from link_day_changes
on conflict (mailing, link, click_day) do update set
clicks = stored.clicks + excluded.clicks,
human_clicks = stored.human_clicks + excluded.human_clicks;

update stored_links as stored set
    first_clicked_at = least(stored.first_clicked_at, clicked.first_clicked_at),
    last_clicked_at = greatest(stored.last_clicked_at, clicked.last_clicked_at)
from (
    select
        mailing,
        link,
        min("timestamp") as first_clicked_at,
        max("timestamp") as last_clicked_at
    from judged_events
    where event = 'c' and place is null
    group by mailing, link
) as clicked
where stored.mailing = clicked.mailing and stored.link = clicked.link;
