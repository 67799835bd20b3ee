-- Figures of campaigns and of their days: sums change by what changed messages are less what they were.
--
-- Reads  changed_messages, credit_changes; stored_messages by index.
-- Writes stored_campaigns, stored_campaign_days, stored_waits.
-- Cost   follows the messages that changed; in another time zone, all messages.
--
-- In another time zone the days start again from all messages, which change nothing of their campaigns.
create temporary table message_changes on commit drop as
with changed as (
    select
        true as is_change,
        changed_messages.*
    from changed_messages
    union all
    select
        false as is_change,
        1 as sign,
        stored_messages.*
    from stored_messages
    where (select dates_again from this_refresh)
)

select
    mailings.campaign,
    changed.is_change,
    coalesce(changed.dimension, 0) as dimension,
    (
        coalesce(delivered_at, bounced_at, least(opened_at, clicked_at, unsubscribed_at, complained_at))
        at time zone settings.value
    )::date as delivery_day,
    sum(sign) filter (where delivered_at is not null or bounced_at is not null) as attempted,
    sum(sign) filter (where bounced_at is not null) as bounced,
    sum(sign) filter (where delivered_at is not null) as delivered,
    sum(sign) filter (where delivered_at is not null and bounced_at is null) as arrived,
    sum(sign) filter (where delivered_at is not null and opened_at is not null) as opened,
    sum(sign) filter (where delivered_at is not null and human_opened_at is not null) as human_opened,
    sum(sign) filter (where delivered_at is not null and clicked_at is not null) as clicked,
    sum(sign) filter (where delivered_at is not null and human_clicked_at is not null) as human_clicked,
    sum(sign) filter (where delivered_at is not null and coalesce(opened_at, clicked_at) is not null) as seen,
    sum(sign) filter (
        where delivered_at is not null and coalesce(human_opened_at, human_clicked_at) is not null
    ) as human_seen,
    sum(sign) filter (where delivered_at is not null and unsubscribed_at is not null) as unsubscribed,
    sum(sign) filter (where delivered_at is not null and complained_at is not null) as complained,
    sum(sign * conversions) as conversions,
    sum(sign * revenue) as revenue,
    sum(sign) filter (where delivery > 0 and conversions > 0) as converted
from changed
inner join stored_mailings as mailings on changed.mailing = mailings.mailing
inner join settings on settings.name = 'reporting_time_zone'
group by mailings.campaign, changed.is_change, coalesce(changed.dimension, 0), delivery_day;

insert into message_changes (campaign, is_change, dimension, delivery_day, conversions, revenue, converted)
select
    mailings.campaign,
    true as is_change,
    coalesce(changes.dimension, 0) as dimension,
    (changes.dated_at at time zone settings.value)::date as delivery_day,
    sum(coalesce(changes.conversions, 0) - coalesce(changes.old_conversions, 0)) as conversions,
    sum(coalesce(changes.revenue, 0) - coalesce(changes.old_revenue, 0)) as revenue,
    count(*) filter (where changes.delivery > 0 and changes.conversions > 0)
    - count(*) filter (where changes.delivery > 0 and changes.old_conversions > 0) as converted
from credit_changes as changes
inner join stored_mailings as mailings on changes.mailing = mailings.mailing
inner join settings on settings.name = 'reporting_time_zone'
group by mailings.campaign, coalesce(changes.dimension, 0), delivery_day;

analyze message_changes;

insert into stored_campaigns as stored (
    campaign, attempted, delivered, bounced, arrived, opened, human_opened, clicked, human_clicked, seen, human_seen,
    unsubscribed, complained, conversions, converted, revenue
)
select
    campaign,
    coalesce(sum(attempted), 0) as attempted,
    coalesce(sum(delivered), 0) as delivered,
    coalesce(sum(bounced), 0) as bounced,
    coalesce(sum(arrived), 0) as arrived,
    coalesce(sum(opened), 0) as opened,
    coalesce(sum(human_opened), 0) as human_opened,
    coalesce(sum(clicked), 0) as clicked,
    coalesce(sum(human_clicked), 0) as human_clicked,
    coalesce(sum(seen), 0) as seen,
    coalesce(sum(human_seen), 0) as human_seen,
    coalesce(sum(unsubscribed), 0) as unsubscribed,
    coalesce(sum(complained), 0) as complained,
    coalesce(sum(conversions), 0) as conversions,
    coalesce(sum(converted), 0) as converted,
    coalesce(sum(revenue), 0) as revenue
from message_changes
where is_change
group by campaign
on conflict (campaign) do update set
attempted = stored.attempted + excluded.attempted,
delivered = stored.delivered + excluded.delivered,
bounced = stored.bounced + excluded.bounced,
arrived = stored.arrived + excluded.arrived,
opened = stored.opened + excluded.opened,
human_opened = stored.human_opened + excluded.human_opened,
clicked = stored.clicked + excluded.clicked,
human_clicked = stored.human_clicked + excluded.human_clicked,
seen = stored.seen + excluded.seen,
human_seen = stored.human_seen + excluded.human_seen,
unsubscribed = stored.unsubscribed + excluded.unsubscribed,
complained = stored.complained + excluded.complained,
conversions = stored.conversions + excluded.conversions,
converted = stored.converted + excluded.converted,
revenue = stored.revenue + excluded.revenue;

-- By day of delivery, else of the bounce, else of the first event, which a message with credit may have alone.
delete from stored_campaign_days
where (select dates_again from this_refresh);

insert into stored_campaign_days as stored (
    campaign, delivery_day, dimension, attempted, delivered, bounced, arrived, opened, human_opened, clicked,
    human_clicked, seen, human_seen, unsubscribed, complained, conversions, converted, revenue
)
select
    campaign,
    delivery_day,
    dimension,
    coalesce(sum(attempted), 0) as attempted,
    coalesce(sum(delivered), 0) as delivered,
    coalesce(sum(bounced), 0) as bounced,
    coalesce(sum(arrived), 0) as arrived,
    coalesce(sum(opened), 0) as opened,
    coalesce(sum(human_opened), 0) as human_opened,
    coalesce(sum(clicked), 0) as clicked,
    coalesce(sum(human_clicked), 0) as human_clicked,
    coalesce(sum(seen), 0) as seen,
    coalesce(sum(human_seen), 0) as human_seen,
    coalesce(sum(unsubscribed), 0) as unsubscribed,
    coalesce(sum(complained), 0) as complained,
    coalesce(sum(conversions), 0) as conversions,
    coalesce(sum(converted), 0) as converted,
    coalesce(sum(revenue), 0) as revenue
from message_changes
where delivery_day is not null and is_change <> (select dates_again from this_refresh)
group by campaign, delivery_day, dimension
on conflict (campaign, delivery_day, dimension) do update set
attempted = stored.attempted + excluded.attempted,
delivered = stored.delivered + excluded.delivered,
bounced = stored.bounced + excluded.bounced,
arrived = stored.arrived + excluded.arrived,
opened = stored.opened + excluded.opened,
human_opened = stored.human_opened + excluded.human_opened,
clicked = stored.clicked + excluded.clicked,
human_clicked = stored.human_clicked + excluded.human_clicked,
seen = stored.seen + excluded.seen,
human_seen = stored.human_seen + excluded.human_seen,
unsubscribed = stored.unsubscribed + excluded.unsubscribed,
complained = stored.complained + excluded.complained,
conversions = stored.conversions + excluded.conversions,
converted = stored.converted + excluded.converted,
revenue = stored.revenue + excluded.revenue;

delete from stored_campaign_days as stored
using message_changes as changes
where
    stored.campaign = changes.campaign
    and stored.delivery_day = changes.delivery_day
    and stored.dimension = changes.dimension
    and (stored.attempted, stored.conversions, stored.revenue) = (0, 0, 0);

-- The first and the last delivery, by the index on (mailing, delivered_at).
update stored_campaigns as stored set
    first_delivered_at = deliveries.first_delivered_at,
    last_delivered_at = deliveries.last_delivered_at
from (
    select
        mailings.campaign,
        min(bounds.first_delivered_at) as first_delivered_at,
        max(bounds.last_delivered_at) as last_delivered_at
    from stored_mailings as mailings
    cross join lateral (
        select
            min(delivered_at) as first_delivered_at,
            max(delivered_at) as last_delivered_at
        from stored_messages
        where mailing = mailings.mailing
    ) as bounds
    where mailings.campaign in (select campaign from message_changes)
    group by mailings.campaign
) as deliveries
where
    stored.campaign = deliveries.campaign
    and (stored.first_delivered_at, stored.last_delivered_at)
    is distinct from (deliveries.first_delivered_at, deliveries.last_delivered_at);

-- Times to the first open and click are counted by their logarithm: a bucket is 1.8 % wide, and its middle at most 0.9 %
-- from each time in it.
create temporary table wait_changes on commit drop as
with waits as (
    select sign, mailing, false as is_click, human_opened_at - delivered_at as wait
    from changed_messages
    where human_opened_at is not null
    union all
    select sign, mailing, true, human_clicked_at - delivered_at
    from changed_messages
    where human_clicked_at is not null
),

measured as (
    select
        sign,
        mailing,
        is_click,
        extract(epoch from wait)::double precision as seconds
    from waits
    where wait is not null
)

select
    mailings.campaign,
    measured.is_click,
    case when seconds <= 0 then -32768 else floor(ln(seconds) / ln(1.018::double precision)) end::smallint as bucket,
    sum(measured.sign) as messages
from measured
inner join stored_mailings as mailings on measured.mailing = mailings.mailing
group by mailings.campaign, measured.is_click, bucket
having sum(measured.sign) <> 0;

analyze wait_changes;

insert into stored_waits as stored (campaign, is_click, bucket, messages)
select
    campaign,
    is_click,
    bucket,
    messages
from wait_changes
on conflict (campaign, is_click, bucket) do update set messages = stored.messages + excluded.messages;

delete from stored_waits as stored
using wait_changes as changes
where
    stored.campaign = changes.campaign
    and stored.is_click = changes.is_click
    and stored.bucket = changes.bucket
    and stored.messages = 0;

-- Median and 90th percentile, between two neighbours in proportion, as percentile_cont computes them.
with counted as (
    select
        campaign,
        is_click,
        case when bucket = -32768 then 0 else power(1.018::double precision, bucket + 0.5) end as seconds,
        messages,
        sum(messages) over (partition by campaign, is_click order by bucket) as so_far,
        sum(messages) over (partition by campaign, is_click) as number_of_messages
    from stored_waits
    where campaign in (select campaign from wait_changes)
),

places as (
    select
        campaign,
        is_click,
        share,
        share * (number_of_messages - 1) as place
    from counted
    cross join unnest(array[0.5, 0.9]) as share
    group by campaign, is_click, share, number_of_messages
),

percentiles as (
    select
        places.campaign,
        places.is_click,
        places.share,
        min(counted.seconds) filter (where counted.so_far > floor(places.place)) as lower_seconds,
        min(counted.seconds) filter (where counted.so_far > ceil(places.place)) as upper_seconds,
        (places.place - floor(places.place))::double precision as part
    from places
    inner join counted on places.campaign = counted.campaign and places.is_click = counted.is_click
    group by places.campaign, places.is_click, places.share, places.place
),

summed as (
    select
        campaigns.campaign,
        array_agg(lower_seconds + part * (upper_seconds - lower_seconds) order by share)
        filter (where not is_click) as seconds_to_open,
        array_agg(lower_seconds + part * (upper_seconds - lower_seconds) order by share)
        filter (where is_click) as seconds_to_click
    from (select distinct campaign from wait_changes) as campaigns
    left join percentiles on campaigns.campaign = percentiles.campaign
    group by campaigns.campaign
)

update stored_campaigns as stored set
    seconds_to_open = summed.seconds_to_open,
    seconds_to_click = summed.seconds_to_click
from summed
where stored.campaign = summed.campaign;
