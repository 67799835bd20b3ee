-- Conversions that are new or changed, and those within reach of events that were judged anew or are somebody else's now:
-- which e-mail led to them, by each model.
--
-- A model credits touches of the person within its window before the conversion: the last one, or all alike. What was
-- done before a delivery that came later counts only from that delivery on. Transactional campaigns get no credit.
create temporary table people_conversions on commit drop as
select
    conversions.*,
    coalesce(conversions.user_id, browsers.person) as person
from conversions
left join browsers on conversions.user_id is null and conversions.anonymous_id = browsers.anonymous_id;

analyze people_conversions;

create temporary table models on commit drop as
select
    models.model,
    models.touches,
    models.is_linear,
    make_interval(secs => extract(epoch from settings.value::interval)) as attribution_window -- a day is 24 hours
from (
    values
    ('last_human_click', array['human_click'], false),
    ('last_click', array['human_click', 'click'], false),
    ('last_touch', array['human_click', 'click', 'open'], false),
    ('last_delivery', array['delivery'], false),
    ('linear_clicks', array['human_click', 'click'], true)
) as models (model, touches, is_linear)
inner join settings on settings.name = 'window_' || models.model;

create temporary table stale_conversions on commit drop as
with stored as (
    select distinct schema_name, event, id, order_id, person, converted_at, revenue, currency
    from stored_conversions
),

live as (
    select schema_name, event, id, order_id, person, "timestamp", revenue, currency
    from people_conversions
),

changed as (
    (select * from stored except select * from live)
    union all
    (select * from live except select * from stored)
)

select schema_name, event, id
from changed
union
select people_conversions.schema_name, people_conversions.event, people_conversions.id
from people_conversions
inner join judged_events
    on people_conversions.person = judged_events.person
    and people_conversions."timestamp" >= judged_events."timestamp"
    and people_conversions."timestamp" <= judged_events."timestamp" + (select max(attribution_window) from models)
union
select schema_name, event, id
from people_conversions
where person in (select old_person from changed_people);

analyze stale_conversions;

-- Who and which campaigns had credits there, and further below, who and which have now.
create temporary table changed_credits on commit drop as
select
    stored.campaign_id,
    stored.person,
    stored.credit
from stored_conversions as stored
inner join stale_conversions as stale using (schema_name, event, id);

delete from stored_conversions as stored
using stale_conversions as stale
where (stored.schema_name, stored.event, stored.id) = (stale.schema_name, stale.event, stale.id);

insert into stored_conversions (
    schema_name, event, id, order_id, person, converted_at, revenue, currency, model, attribution_window, campaign_id,
    email_id, delivery, touch, touched_at, credit
)
with stale as (
    select people_conversions.*
    from people_conversions
    inner join stale_conversions using (schema_name, event, id)
),

touches as (
    select
        stale.schema_name,
        stale.event,
        stale.id,
        stale."timestamp" as converted_at,
        events.campaign_id,
        events.email_id,
        events.delivery,
        events.id as touch_id,
        events."timestamp" as touched_at,
        case events.event
            when 'email_delivered' then 'delivery'
            when 'email_link_clicked' then case when events.actor = 'human' then 'human_click' else 'click' end
            else 'open'
        end as touch
    from stale
    inner join stored_events as events
        on stale.person = events.person
        and stale."timestamp" >= events."timestamp"
        and stale."timestamp" - (select max(attribution_window) from models) <= events."timestamp"
        and stale."timestamp" >= coalesce(events.delivered_at, events.first_delivered_at, events."timestamp")
    left join campaign_names on events.campaign_id = campaign_names.campaign_id
    where
        events.event in ('email_delivered', 'email_opened', 'email_machine_opened', 'email_link_clicked')
        and campaign_names.is_transactional is not true
),

candidates as (
    select
        touches.*,
        models.model,
        models.is_linear,
        row_number() over (
            partition by touches.schema_name, touches.event, touches.id, models.model
            order by
                touches.touched_at desc, touches.touch desc, touches.campaign_id desc, touches.email_id desc,
                touches.delivery desc, touches.touch_id desc
        ) as place
    from touches
    inner join models
        on touches.touch = any(models.touches)
        and touches.touched_at >= touches.converted_at - models.attribution_window
),

shares as (
    select
        schema_name,
        event,
        id,
        model,
        campaign_id,
        email_id,
        delivery,
        max(touched_at) as touched_at,
        (array_agg(touch order by place))[1] as touch,
        count(*) as share,
        min(place) as place
    from candidates
    where is_linear or place = 1
    group by schema_name, event, id, model, campaign_id, email_id, delivery
),

-- Rounding is carried from share to share, so that the sum is exactly 1.
summed as (
    select
        shares.*,
        sum(share) over conversion as whole,
        sum(share) over (conversion order by place rows unbounded preceding) as so_far
    from shares
    window conversion as (partition by schema_name, event, id, model)
)

select
    stale.schema_name,
    stale.event,
    stale.id,
    stale.order_id,
    stale.person,
    stale."timestamp" as converted_at,
    stale.revenue,
    stale.currency,
    models.model,
    models.attribution_window,
    summed.campaign_id,
    summed.email_id,
    summed.delivery,
    summed.touch,
    summed.touched_at,
    coalesce(round(so_far / whole, 6) - round((so_far - share) / whole, 6), 0) as credit
from stale
cross join models
left join summed
    on stale.schema_name = summed.schema_name
    and stale.event = summed.event
    and stale.id = summed.id
    and models.model = summed.model;

insert into changed_credits (campaign_id, person, credit)
select
    stored.campaign_id,
    stored.person,
    stored.credit
from stored_conversions as stored
inner join stale_conversions as stale using (schema_name, event, id);
