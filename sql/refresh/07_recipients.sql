-- Figures of the people whose messages or conversions changed: sums change by the difference, first and last times move
-- on. Whoever lost a message, a time or an address starts again from all their messages.
--
-- Reads  old_messages, new_messages, changed_messages, credit_changes, conversion_people; by index the recipients with
--        changes, the stored messages of those who start again, and stored conversions.
-- Writes stored_recipients; old_recipients, renewed_recipients (temporary): those that changed, before and after.
-- Cost   follows the messages that changed.
-- What was stored of the people with changed messages. Without `offset 0` the planner reads all recipients.
create temporary table old_recipients on commit drop as
select stored.*
from (
    select person from changed_messages
    union
    select person from credit_changes
    order by person
) as changed
cross join lateral (
    select
        person,
        address,
        first_delivered_at,
        last_delivered_at
    from stored_recipients
    where person = changed.person
    offset 0 -- noqa: AM09
) as stored
where (select had_events from this_refresh);

analyze old_recipients;

create temporary table restarted_people on commit drop as
select old.person
from old_messages as old
left join new_messages as new
    on old.person = new.person and old.mailing = new.mailing and old.delivery = new.delivery
where
    new.person is null
    or (new.delivered_at, new.address) is distinct from (old.delivered_at, old.address)
    or old.last_human_opened_at > coalesce(new.last_human_opened_at, '-infinity')
    or old.last_human_clicked_at > coalesce(new.last_human_clicked_at, '-infinity')
    or old.last_unsubscribed_at > coalesce(new.last_unsubscribed_at, '-infinity')
    or old.last_complained_at > coalesce(new.last_complained_at, '-infinity')
union
select new.person
from new_messages as new
inner join old_recipients as old on new.person = old.person
where new.address <> old.address and (new.delivered_at > old.last_delivered_at) is not true;

analyze restarted_people;

delete from stored_recipients
where person in (select person from restarted_people);

create temporary table recipient_changes on commit drop as
-- Revenue of changed messages is what was credited to them before; the rest is in credit_changes.
with counted as (
    select
        sign, person, address, delivered_at, last_human_opened_at, last_human_clicked_at, last_unsubscribed_at,
        last_complained_at, bounced_at, human_opened_at, human_clicked_at, sign * revenue as revenue
    from changed_messages
    where person not in (select person from restarted_people)
    union all
    select
        0, person, null, null, null, null, null,
        null, null, null, null, coalesce(revenue, 0) - coalesce(old_revenue, 0)
    from credit_changes
    where person not in (select person from restarted_people)
    union all
    select
        1, stored.person, stored.address, stored.delivered_at, stored.last_human_opened_at,
        stored.last_human_clicked_at, stored.last_unsubscribed_at, stored.last_complained_at, stored.bounced_at,
        stored.human_opened_at, stored.human_clicked_at, stored.revenue
    from restarted_people as restarted
    inner join stored_messages as stored on restarted.person = stored.person
)

select
    person,
    min(address) as address,
    max(address) as other_address,
    min(delivered_at) filter (where sign > 0) as first_delivered_at,
    max(delivered_at) filter (where sign > 0) as last_delivered_at,
    max(last_human_opened_at) filter (where sign > 0) as last_human_opened_at,
    max(last_human_clicked_at) filter (where sign > 0) as last_human_clicked_at,
    max(last_unsubscribed_at) filter (where sign > 0) as unsubscribed_at,
    max(last_complained_at) filter (where sign > 0) as complained_at,
    coalesce(sum(sign) filter (where delivered_at is not null), 0) as delivered,
    coalesce(sum(sign) filter (where bounced_at is not null), 0) as bounced,
    coalesce(sum(sign) filter (where delivered_at is not null and human_opened_at is not null), 0) as human_opened,
    coalesce(sum(sign) filter (where delivered_at is not null and human_clicked_at is not null), 0) as human_clicked,
    coalesce(sum(revenue), 0) as attributed_revenue
from counted
group by person
order by person;

analyze recipient_changes;

-- Of several addresses that of the latest delivery counts, else that of the latest bounce.
create temporary table people_with_addresses on commit drop as
select person
from recipient_changes
where address <> other_address;

analyze people_with_addresses;

update recipient_changes as changes set address = named.address
from (
    select
        several.person,
        (
            array_agg(
                messages.address
                order by messages.delivered_at desc nulls last, messages.bounced_at desc nulls last, people.name
            )
        )[1] as address
    from people_with_addresses as several
    inner join stored_messages as messages on several.person = messages.person
    inner join stored_people as people on messages.address = people.person
    group by several.person
) as named
where changes.person = named.person;

-- Whose conversions are counted: those of people who were no recipients before, too.
create temporary table stale_buyers on commit drop as
select person
from conversion_people
union
select person
from restarted_people
union
select changes.person
from recipient_changes as changes
left join old_recipients as old on changes.person = old.person
where old.person is null;

analyze stale_buyers;

create temporary table renewed_recipients (person int, address int, first_delivered_at timestamptz) on commit drop;

with renewed as (
    insert into stored_recipients as stored (
        first_delivered_at, last_delivered_at, last_human_opened_at, last_human_clicked_at, unsubscribed_at,
        complained_at, person, address, delivered, bounced, human_opened, human_clicked, conversions, revenue,
        attributed_revenue
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
        0 as conversions,
        0 as revenue,
        attributed_revenue
    from recipient_changes
    on conflict (person) do update set
    first_delivered_at = least(stored.first_delivered_at, excluded.first_delivered_at),
    last_delivered_at = greatest(stored.last_delivered_at, excluded.last_delivered_at),
    last_human_opened_at = greatest(stored.last_human_opened_at, excluded.last_human_opened_at),
    last_human_clicked_at = greatest(stored.last_human_clicked_at, excluded.last_human_clicked_at),
    unsubscribed_at = greatest(stored.unsubscribed_at, excluded.unsubscribed_at),
    complained_at = greatest(stored.complained_at, excluded.complained_at),
    address = coalesce(excluded.address, stored.address),
    delivered = stored.delivered + excluded.delivered,
    bounced = stored.bounced + excluded.bounced,
    human_opened = stored.human_opened + excluded.human_opened,
    human_clicked = stored.human_clicked + excluded.human_clicked,
    attributed_revenue = stored.attributed_revenue + excluded.attributed_revenue
    returning stored.person, stored.address, stored.first_delivered_at
)

insert into renewed_recipients (person, address, first_delivered_at)
select
    person,
    address,
    first_delivered_at
from renewed;

-- On days of another time zone, everybody's first delivery and address count again.
insert into renewed_recipients (person, address, first_delivered_at)
select
    stored.person,
    stored.address,
    stored.first_delivered_at
from stored_recipients as stored
left join renewed_recipients as renewed on stored.person = renewed.person
where renewed.person is null and (select dates_again from this_refresh);

analyze renewed_recipients;

update stored_recipients as stored set conversions = counted.conversions, revenue = counted.revenue
from (
    select
        stale.person,
        count(conversions.conversion) filter (where not conversions.is_refund) as conversions,
        coalesce(sum(conversions.amount), 0) as revenue
    from stale_buyers as stale
    left join stored_conversions as conversions on stale.person = conversions.person and conversions.is_counted
    group by stale.person
) as counted
where
    stored.person = counted.person
    and (stored.conversions, stored.revenue) is distinct from (counted.conversions, counted.revenue);
