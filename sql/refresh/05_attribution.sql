-- Which e-mail led to a conversion, by each model, for conversions that are stale or within reach of events that changed.
--
-- A model credits touches of the person within its window before the conversion: the last one, or all alike. What was
-- done before a delivery that came later counts only from that delivery on. Transactional campaigns get no credit. A
-- refund of a known order is credited as the order; it adds to revenue, not to conversions.
--
-- Reads  judged_events, stale_conversions, and the stored events of their people, by index.
-- Writes stored_models, stored_credits, the credits in stored_messages; credit_changes (temporary).
-- Cost   follows the events of people with such conversions; after a change of the models, all conversions.
insert into stored_models as stored (model, name, touches, is_linear, is_default, attribution_window)
select
    models.model,
    models.name,
    models.touches::"char"[] as touches,
    models.is_linear,
    models.name = default_models.value as is_default,
    make_interval(secs => extract(epoch from windows.value::interval)) as attribution_window -- a day is 24 hours
from (
    values
    (1, 'last_human_click', array['h'], false),
    (2, 'last_click', array['h', 'c'], false),
    (3, 'last_touch', array['h', 'c', 'o'], false),
    (4, 'last_delivery', array['d'], false),
    (5, 'linear_clicks', array['h', 'c'], true)
) as models (model, name, touches, is_linear)
inner join settings as windows on windows.name = 'window_' || models.name
inner join settings as default_models on default_models.name = 'default_model'
on conflict (model) do update set
is_default = excluded.is_default,
attribution_window = excluded.attribution_window
where (stored.is_default, stored.attribution_window) <> (excluded.is_default, excluded.attribution_window);

create temporary table changed_spans on commit drop as
with changed as (
    select
        unnest(array[old_person, person]) as person,
        "timestamp"
    from judged_events
    where
        (select had_conversions from this_refresh)
        and (old_person, old_delivery, old_delivered_at, old_later_delivered_at, old_actor)
        is distinct from (person, delivery, delivered_at, later_delivered_at, actor)
)

select
    person,
    min("timestamp") as first_at,
    max("timestamp") as last_at
from changed
where person is not null
group by person;

analyze changed_spans;

-- Without `offset 0` the planner reads the conversions of everybody.
create temporary table credited_conversions on commit drop as
select conversion
from stale_conversions
union
select conversion
from stored_conversions
where (select credits_again from this_refresh)
union
select reached.conversion
from changed_spans as changed
cross join lateral (
    select conversion
    from stored_conversions
    where
        person = changed.person
        and is_counted
        and changed.first_at <= credited_at
        and changed.last_at >= credited_at - (select max(attribution_window) from stored_models)
    offset 0 -- noqa: AM09
) as reached;

analyze credited_conversions;

create temporary table touched_messages (person int, mailing int, delivery int) on commit drop;

with gone as (
    delete from stored_credits as stored
    using credited_conversions as stale
    where stored.conversion = stale.conversion
    returning stored.person, stored.mailing, stored.delivery
)

insert into touched_messages
select
    person,
    mailing,
    delivery
from gone;

with stale as (
    select
        stored.conversion,
        stored.person,
        stored.credited_at
    from credited_conversions as credited
    inner join stored_conversions as stored on credited.conversion = stored.conversion
    where stored.is_counted and stored.person is not null
),

-- Materialized, so that events are found by their people and not by all mailings.
touches as materialized (
    select
        stale.conversion,
        stale.person,
        stale.credited_at,
        events.mailing,
        events.delivery,
        events.id as touch_id,
        events."timestamp" as touched_at,
        case
            when events.event = 'c' and events.actor = 'h' then 'h'
            when events.event = 'm' then 'o'
            else events.event
        end as touch
    from stale
    inner join stored_events as events
        on stale.person = events.person
        and stale.credited_at >= events."timestamp"
        and stale.credited_at - (select max(attribution_window) from stored_models) <= events."timestamp"
        and stale.credited_at >= coalesce(events.delivered_at, events.later_delivered_at, events."timestamp")
    where events.event in ('d', 'o', 'm', 'c')
),

-- Of one moment a person's click comes first, then a machine's, an open, a delivery.
preferred as (
    select
        touches.*,
        array_position(array['h', 'c', 'o', 'd']::"char"[], touches.touch) as preference
    from touches
),

candidates as (
    select
        touches.*,
        models.model,
        models.is_linear,
        row_number() over (
            partition by touches.conversion, models.model
            order by
                touches.touched_at desc, touches.preference, campaigns.campaign_id, mailings.email_id,
                touches.delivery, touches.touch_id
        ) as place
    from preferred as touches
    inner join stored_models as models
        on touches.touch = any(models.touches)
        and touches.touched_at >= touches.credited_at - models.attribution_window
    inner join stored_mailings as mailings on touches.mailing = mailings.mailing
    inner join stored_names as campaigns on mailings.campaign = campaigns.campaign
    where
        (
            campaigns.campaign_id = any(
                select unnest(regexp_split_to_array(trim(value), '\s*,\s*'))
                from settings
                where name = 'transactional_campaigns' and trim(value) <> ''
            )
        ) is not true
),

shares as (
    select
        conversion,
        person,
        model,
        mailing,
        delivery,
        max(touched_at) as touched_at,
        (array_agg(touch order by place))[1] as touch,
        count(*) as share,
        min(place) as place
    from candidates
    where is_linear or place = 1
    group by conversion, person, model, mailing, delivery
),

-- Rounding is carried from share to share, so that the sum is exactly 1.
summed as (
    select
        shares.*,
        sum(share) over conversion as whole,
        sum(share) over (conversion order by place rows unbounded preceding) as so_far
    from shares
    window conversion as (partition by shares.conversion, model)
),

new as (
    insert into stored_credits (touched_at, conversion, person, mailing, delivery, model, touch, credit)
    select
        touched_at,
        conversion,
        person,
        mailing,
        delivery,
        model,
        touch,
        round(so_far / whole, 6) - round((so_far - share) / whole, 6) as credit
    from summed
    returning person, mailing, delivery
)

insert into touched_messages
select
    person,
    mailing,
    delivery
from new;

-- What the default model credits to a message stands with it. One that is gone has taken its credits with it.
create temporary table credited_messages on commit drop as
with touched as (
    select distinct
        person,
        mailing,
        delivery
    from touched_messages
)

select
    touched.person,
    touched.mailing,
    touched.delivery,
    sum(credits.credit) filter (where models.is_default and not conversions.is_refund) as conversions,
    sum(credits.credit * conversions.amount) filter (where models.is_default) as revenue
from touched
left join stored_credits as credits
    on touched.person = credits.person
    and touched.mailing = credits.mailing
    and touched.delivery = credits.delivery
    and credits.credit > 0
left join stored_models as models on credits.model = models.model
left join stored_conversions as conversions on credits.conversion = conversions.conversion
group by touched.person, touched.mailing, touched.delivery;

analyze credited_messages;

create temporary table credit_changes on commit drop as
select
    messages.ctid as place,
    messages.person,
    messages.mailing,
    messages.delivery,
    coalesce(
        messages.delivered_at,
        messages.bounced_at,
        least(messages.opened_at, messages.clicked_at, messages.unsubscribed_at, messages.complained_at)
    ) as dated_at,
    messages.dimension,
    messages.conversions as old_conversions,
    messages.revenue as old_revenue,
    credited.conversions,
    credited.revenue
from credited_messages as credited
inner join stored_messages as messages
    on credited.person = messages.person
    and credited.mailing = messages.mailing
    and credited.delivery = messages.delivery
where (messages.conversions, messages.revenue) is distinct from (credited.conversions, credited.revenue);

update stored_messages as stored set conversions = changes.conversions, revenue = changes.revenue
from credit_changes as changes
where stored.ctid = changes.place;

insert into conversion_people
select person
from touched_messages
union
select stored.person
from credited_conversions as credited
inner join stored_conversions as stored on credited.conversion = stored.conversion
where stored.person is not null;
