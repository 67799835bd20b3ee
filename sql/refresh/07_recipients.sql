-- Figures of the people whose messages or conversions changed.
--
-- Reads  old_messages, new_messages, conversion_people; stored messages, conversions and credits by index.
-- Writes stored_recipients; stale_people (temporary).
-- Cost   follows the people with changes.
create temporary table stale_people on commit drop as
select person
from old_messages
union
select person
from new_messages
union
select person
from conversion_people;

analyze stale_people;

create temporary table new_recipients_figures on commit drop as
with messages as (
    select
        stored.person,
        min(stored.address) as address,
        max(stored.address) as other_address,
        min(stored.delivered_at) as first_delivered_at,
        max(stored.delivered_at) as last_delivered_at,
        max(stored.last_human_opened_at) as last_human_opened_at,
        max(stored.last_human_clicked_at) as last_human_clicked_at,
        max(stored.unsubscribed_at) as unsubscribed_at,
        max(stored.complained_at) as complained_at,
        count(stored.delivered_at) as delivered,
        count(stored.bounced_at) as bounced,
        count(stored.human_opened_at) filter (where stored.delivered_at is not null) as human_opened,
        count(stored.human_clicked_at) filter (where stored.delivered_at is not null) as human_clicked,
        sum(stored.revenue) as attributed_revenue
    from stale_people as stale
    inner join stored_messages as stored on stale.person = stored.person
    group by stored.person
),

-- Of several addresses the last one, in the order of the alphabet.
addressed as (
    select
        messages.person,
        (array_agg(stored.address order by people.name desc))[1] as address
    from messages
    inner join stored_messages as stored on messages.person = stored.person
    inner join stored_people as people on stored.address = people.person
    where messages.address <> messages.other_address
    group by messages.person
),

conversions as (
    select
        stored.person,
        count(*) as conversions,
        sum(stored.revenue) as revenue
    from stale_people as stale
    inner join stored_conversions as stored on stale.person = stored.person
    where stored.is_counted
    group by stored.person
)

select
    messages.first_delivered_at,
    messages.last_delivered_at,
    messages.last_human_opened_at,
    messages.last_human_clicked_at,
    messages.unsubscribed_at,
    messages.complained_at,
    messages.person,
    coalesce(addressed.address, messages.address) as address,
    messages.delivered,
    messages.bounced,
    messages.human_opened,
    messages.human_clicked,
    coalesce(conversions.conversions, 0) as conversions,
    coalesce(conversions.revenue, 0) as revenue,
    coalesce(messages.attributed_revenue, 0) as attributed_revenue
from messages
left join addressed on messages.person = addressed.person
left join conversions on messages.person = conversions.person;

delete from stored_recipients as stored
using stale_people as stale
left join new_recipients_figures as new on stale.person = new.person
where stored.person = stale.person and new.person is null;

insert into stored_recipients as stored (
    first_delivered_at, last_delivered_at, last_human_opened_at, last_human_clicked_at, unsubscribed_at, complained_at,
    person, address, delivered, bounced, human_opened, human_clicked, conversions, revenue, attributed_revenue
)
select
    first_delivered_at,
    last_delivered_at,
    last_human_opened_at,
    last_human_clicked_at,
    unsubscribed_at,
    complained_at,
    person,
    address,
    delivered,
    bounced,
    human_opened,
    human_clicked,
    conversions,
    revenue,
    attributed_revenue
from new_recipients_figures
on conflict (person) do update set
first_delivered_at = excluded.first_delivered_at,
last_delivered_at = excluded.last_delivered_at,
last_human_opened_at = excluded.last_human_opened_at,
last_human_clicked_at = excluded.last_human_clicked_at,
unsubscribed_at = excluded.unsubscribed_at,
complained_at = excluded.complained_at,
address = excluded.address,
delivered = excluded.delivered,
bounced = excluded.bounced,
human_opened = excluded.human_opened,
human_clicked = excluded.human_clicked,
conversions = excluded.conversions,
revenue = excluded.revenue,
attributed_revenue = excluded.attributed_revenue;
