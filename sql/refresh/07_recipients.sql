-- Figures of the people with stale mailings or changed credits who were sent an e-mail.
create temporary table stale_people on commit drop as
select person
from stale_mailings
union
select person
from changed_credits
where person is not null;

analyze stale_people;

delete from stored_recipients as stored
using stale_people as stale
where stored.person = stale.person;

insert into stored_recipients (
    person, email, first_delivered_at, last_delivered_at, last_human_opened_at, last_human_clicked_at,
    unsubscribed_at, complained_at, delivered, bounced, human_opened, human_clicked, conversions, revenue,
    attributed_revenue
)
with messages as (
    select
        stored.person,
        max(stored.email) as email,
        min(stored.delivered_at) as first_delivered_at,
        max(stored.delivered_at) as last_delivered_at,
        max(stored.last_human_opened_at) as last_human_opened_at,
        max(stored.last_human_clicked_at) as last_human_clicked_at,
        max(stored.unsubscribed_at) as unsubscribed_at,
        max(stored.complained_at) as complained_at,
        count(stored.delivered_at) as delivered,
        count(stored.bounced_at) as bounced,
        count(stored.human_opened_at) filter (where stored.delivered_at is not null) as human_opened,
        count(stored.human_clicked_at) filter (where stored.delivered_at is not null) as human_clicked
    from stale_people as stale
    inner join stored_messages as stored on stale.person = stored.person
    group by stored.person
),

conversions as (
    select
        stored.person,
        count(distinct (stored.schema_name, stored.event, stored.id)) as conversions,
        sum(stored.revenue) filter (where stored.place = 1) as revenue,
        sum(stored.credit * stored.revenue) as attributed_revenue
    from (
        select
            credits.*,
            row_number() over (
                partition by credits.schema_name, credits.event, credits.id order by credits.touched_at
            ) as place
        from stale_people as stale
        inner join stored_conversions as credits on stale.person = credits.person
        inner join settings on settings.name = 'default_model' and credits.model = settings.value
    ) as stored
    group by stored.person
)

select
    messages.person,
    messages.email,
    messages.first_delivered_at,
    messages.last_delivered_at,
    messages.last_human_opened_at,
    messages.last_human_clicked_at,
    messages.unsubscribed_at,
    messages.complained_at,
    messages.delivered,
    messages.bounced,
    messages.human_opened,
    messages.human_clicked,
    coalesce(conversions.conversions, 0) as conversions,
    coalesce(conversions.revenue, 0) as revenue,
    coalesce(conversions.attributed_revenue, 0) as attributed_revenue
from messages
left join conversions on messages.person = conversions.person;
