-- Messages of the mailings with news, as they were and as they are: what is summed up of them changes by the difference.
--
-- Reads  judged_events, and the stored messages of the mailings with news, by index.
-- Writes stored_messages; old_messages, new_messages, changed_messages (temporary): those that changed.
-- Cost   follows the messages of the mailings with news.
create temporary table old_messages on commit drop as
select
    stored.ctid as place,
    stored.*
from stale_mailings as stale
inner join stored_messages as stored on stale.person = stored.person and stale.mailing = stored.mailing;

analyze old_messages;

-- The address of a message is its delivery's, which is a single one, else that of the latest bounce, else that of the
-- latest other event. A message with number 0 has no delivery.
create temporary table other_addresses on commit drop as
with unaddressed as (
    select
        judged.person,
        judged.mailing,
        judged.delivery
    from judged_events as judged
    inner join stored_identities as identities on judged.identity = identities.identity and identities.address is null
    where judged.event = 'd'
)

select distinct on (judged.person, judged.mailing, judged.delivery)
    judged.person,
    judged.mailing,
    judged.delivery,
    identities.address
from judged_events as judged
inner join stored_identities as identities
    on judged.identity = identities.identity and identities.address is not null
where
    judged.event <> 'd'
    and (
        judged.delivery = 0
        or (judged.person, judged.mailing, judged.delivery) in (select person, mailing, delivery from unaddressed)
    )
order by
    judged.person, judged.mailing, judged.delivery, judged.event <> 'b', judged."timestamp" desc, judged.id,
    judged.original_timestamp;

analyze other_addresses;

-- A delivery is a message of its own; most messages have no other event. The columns are in the order of stored_messages.
create temporary table new_messages on commit drop as
with deliveries as (
    select
        judged.person,
        judged.mailing,
        judged.delivery,
        judged."timestamp" as delivered_at,
        identities.address
    from judged_events as judged
    inner join stored_identities as identities on judged.identity = identities.identity
    where judged.event = 'd'
),

reactions as (
    select
        person,
        mailing,
        delivery,
        min("timestamp") filter (where event = 'b') as bounced_at,
        min("timestamp") filter (where event in ('o', 'm')) as opened_at,
        max("timestamp") filter (where event in ('o', 'm')) as last_opened_at,
        min("timestamp") filter (where event = 'o' and actor = 'h') as human_opened_at,
        max("timestamp") filter (where event = 'o' and actor = 'h') as last_human_opened_at,
        min("timestamp") filter (where event = 'c') as clicked_at,
        max("timestamp") filter (where event = 'c') as last_clicked_at,
        min("timestamp") filter (where event = 'c' and actor = 'h') as human_clicked_at,
        max("timestamp") filter (where event = 'c' and actor = 'h') as last_human_clicked_at,
        min("timestamp") filter (where event = 'u') as unsubscribed_at,
        max("timestamp") filter (where event = 'u') as last_unsubscribed_at,
        min("timestamp") filter (where event = 's') as complained_at,
        max("timestamp") filter (where event = 's') as last_complained_at,
        nullif(count(*) filter (where event in ('o', 'm')), 0)::int as opens,
        nullif(count(*) filter (where event = 'o' and actor = 'h'), 0)::int as human_opens,
        nullif(count(*) filter (where event = 'c'), 0)::int as clicks,
        nullif(count(*) filter (where event = 'c' and actor = 'h'), 0)::int as human_clicks
    from judged_events
    where event <> 'd'
    group by person, mailing, delivery
),

messages as (
    select
        coalesce(deliveries.person, reactions.person) as person,
        coalesce(deliveries.mailing, reactions.mailing) as mailing,
        coalesce(deliveries.delivery, reactions.delivery) as delivery,
        coalesce(deliveries.address, others.address) as address,
        deliveries.delivered_at,
        reactions.bounced_at,
        reactions.opened_at,
        reactions.last_opened_at,
        reactions.human_opened_at,
        reactions.last_human_opened_at,
        reactions.clicked_at,
        reactions.last_clicked_at,
        reactions.human_clicked_at,
        reactions.last_human_clicked_at,
        reactions.unsubscribed_at,
        reactions.last_unsubscribed_at,
        reactions.complained_at,
        reactions.last_complained_at,
        reactions.opens,
        reactions.human_opens,
        reactions.clicks,
        reactions.human_clicks
    from deliveries
    full join reactions
        on deliveries.person = reactions.person
        and deliveries.mailing = reactions.mailing
        and deliveries.delivery = reactions.delivery
    left join other_addresses as others
        on reactions.person = others.person
        and reactions.mailing = others.mailing
        and reactions.delivery = others.delivery
)

select
    messages.delivered_at,
    messages.bounced_at,
    messages.opened_at,
    messages.last_opened_at,
    messages.human_opened_at,
    messages.last_human_opened_at,
    messages.clicked_at,
    messages.last_clicked_at,
    messages.human_clicked_at,
    messages.last_human_clicked_at,
    messages.unsubscribed_at,
    messages.complained_at,
    messages.person,
    messages.mailing,
    messages.delivery,
    messages.address,
    messages.opens,
    messages.human_opens,
    messages.clicks,
    messages.human_clicks,
    old_messages.conversions,
    old_messages.revenue,
    messages.last_unsubscribed_at,
    messages.last_complained_at,
    null::int as dimension
from messages
left join old_messages
    on messages.person = old_messages.person
    and messages.mailing = old_messages.mailing
    and messages.delivery = old_messages.delivery;

analyze new_messages;

-- The dimensions of a message are its delivery's, else those of the first event that has any.
update new_messages as new set dimension = named.dimension
from (
    select distinct on (judged.person, judged.mailing, judged.delivery)
        judged.person,
        judged.mailing,
        judged.delivery,
        titles.dimension
    from judged_events as judged
    inner join stored_titles as titles on judged.title = titles.title and titles.dimension is not null
    order by
        judged.person, judged.mailing, judged.delivery, judged.event <> 'd', judged."timestamp",
        judged.original_timestamp, judged.id
) as named
where new.person = named.person and new.mailing = named.mailing and new.delivery = named.delivery;

-- Those that are what they were are left out.
with unchanged as (
    delete from old_messages using new_messages as new
    where
        old_messages.person = new.person
        and old_messages.mailing = new.mailing
        and old_messages.delivery = new.delivery
        and (
            old_messages.delivered_at, old_messages.bounced_at, old_messages.opened_at, old_messages.last_opened_at,
            old_messages.human_opened_at, old_messages.last_human_opened_at, old_messages.clicked_at,
            old_messages.last_clicked_at, old_messages.human_clicked_at, old_messages.last_human_clicked_at,
            old_messages.unsubscribed_at, old_messages.last_unsubscribed_at, old_messages.complained_at,
            old_messages.last_complained_at, old_messages.address, old_messages.opens, old_messages.human_opens,
            old_messages.clicks, old_messages.human_clicks, old_messages.dimension
        )
        is not distinct from
        (
            new.delivered_at, new.bounced_at, new.opened_at, new.last_opened_at,
            new.human_opened_at, new.last_human_opened_at, new.clicked_at,
            new.last_clicked_at, new.human_clicked_at, new.last_human_clicked_at,
            new.unsubscribed_at, new.last_unsubscribed_at, new.complained_at,
            new.last_complained_at, new.address, new.opens, new.human_opens,
            new.clicks, new.human_clicks, new.dimension
        )
    returning new.person, new.mailing, new.delivery
)

delete from new_messages using unchanged
where
    new_messages.person = unchanged.person
    and new_messages.mailing = unchanged.mailing
    and new_messages.delivery = unchanged.delivery;

analyze old_messages;
analyze new_messages;

update stored_messages as stored set
    delivered_at = new.delivered_at,
    bounced_at = new.bounced_at,
    opened_at = new.opened_at,
    last_opened_at = new.last_opened_at,
    human_opened_at = new.human_opened_at,
    last_human_opened_at = new.last_human_opened_at,
    clicked_at = new.clicked_at,
    last_clicked_at = new.last_clicked_at,
    human_clicked_at = new.human_clicked_at,
    last_human_clicked_at = new.last_human_clicked_at,
    unsubscribed_at = new.unsubscribed_at,
    last_unsubscribed_at = new.last_unsubscribed_at,
    complained_at = new.complained_at,
    last_complained_at = new.last_complained_at,
    address = new.address,
    opens = new.opens,
    human_opens = new.human_opens,
    clicks = new.clicks,
    human_clicks = new.human_clicks,
    dimension = new.dimension
from old_messages as old
inner join new_messages as new
    on old.person = new.person and old.mailing = new.mailing and old.delivery = new.delivery
where stored.ctid = old.place;

delete from stored_messages as stored
using old_messages as old
left join new_messages as new
    on old.person = new.person and old.mailing = new.mailing and old.delivery = new.delivery
where stored.ctid = old.place and new.person is null;

-- In the order of the events.
insert into stored_messages
select *
from new_messages
where (select not had_events from this_refresh)
order by delivered_at;

insert into stored_messages
select new.*
from new_messages as new
left join old_messages as old
    on new.person = old.person and new.mailing = old.mailing and new.delivery = old.delivery
where old.person is null and (select had_events from this_refresh)
order by new.delivered_at::date, new.person;

alter table old_messages drop column place;

-- As they were with sign -1, as they are with sign 1: sums over both are the difference.
create temporary view changed_messages as
select
    -1 as sign,
    old_messages.*
from old_messages
union all
select
    1 as sign,
    new_messages.*
from new_messages;
