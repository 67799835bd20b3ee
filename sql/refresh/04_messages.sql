-- Messages of the mailings with news, as they were and as they are: what is summed up of them changes by the difference.
--
-- Reads  judged_events, and the stored messages of the mailings with news, by index.
-- Writes stored_messages; old_messages, new_messages (temporary): those that changed.
-- Cost   follows the messages of the mailings with news.
create temporary table old_messages on commit drop as
select
    stored.ctid as place,
    stored.*
from stale_mailings as stale
inner join stored_messages as stored on stale.person = stored.person and stale.mailing = stored.mailing;

create temporary table new_messages on commit drop as
with messages as (
    select
        judged.person,
        judged.mailing,
        judged.delivery,
        min(identities.address) as address,
        max(identities.address) as other_address,
        min("timestamp") filter (where event = 'd') as delivered_at,
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
        min("timestamp") filter (where event = 's') as complained_at,
        nullif(count(*) filter (where event in ('o', 'm')), 0)::int as opens,
        nullif(count(*) filter (where event = 'o' and actor = 'h'), 0)::int as human_opens,
        nullif(count(*) filter (where event = 'c'), 0)::int as clicks,
        nullif(count(*) filter (where event = 'c' and actor = 'h'), 0)::int as human_clicks
    from judged_events as judged
    inner join stored_identities as identities on judged.identity = identities.identity
    group by judged.person, judged.mailing, judged.delivery
),

-- Of several addresses in the events of one message the last one counts, in the order of the alphabet.
addressed as (
    select
        messages.person,
        messages.mailing,
        messages.delivery,
        (array_agg(identities.address order by people.name desc))[1] as address
    from messages
    inner join judged_events as judged
        on messages.person = judged.person
        and messages.mailing = judged.mailing
        and messages.delivery = judged.delivery
    inner join stored_identities as identities on judged.identity = identities.identity
    inner join stored_people as people on identities.address = people.person
    where messages.address <> messages.other_address
    group by messages.person, messages.mailing, messages.delivery
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
    coalesce(addressed.address, messages.address) as address,
    messages.opens,
    messages.human_opens,
    messages.clicks,
    messages.human_clicks,
    old_messages.conversions,
    old_messages.revenue
from messages
left join addressed
    on messages.person = addressed.person
    and messages.mailing = addressed.mailing
    and messages.delivery = addressed.delivery
left join old_messages
    on messages.person = old_messages.person
    and messages.mailing = old_messages.mailing
    and messages.delivery = old_messages.delivery;

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
            old_messages.unsubscribed_at, old_messages.complained_at, old_messages.address, old_messages.opens,
            old_messages.human_opens, old_messages.clicks, old_messages.human_clicks
        )
        is not distinct from
        (
            new.delivered_at, new.bounced_at, new.opened_at, new.last_opened_at,
            new.human_opened_at, new.last_human_opened_at, new.clicked_at,
            new.last_clicked_at, new.human_clicked_at, new.last_human_clicked_at,
            new.unsubscribed_at, new.complained_at, new.address, new.opens,
            new.human_opens, new.clicks, new.human_clicks
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
    complained_at = new.complained_at,
    address = new.address,
    opens = new.opens,
    human_opens = new.human_opens,
    clicks = new.clicks,
    human_clicks = new.human_clicks
from old_messages as old
inner join new_messages as new
    on old.person = new.person and old.mailing = new.mailing and old.delivery = new.delivery
where stored.ctid = old.place;

delete from stored_messages as stored
using old_messages as old
left join new_messages as new
    on old.person = new.person and old.mailing = new.mailing and old.delivery = new.delivery
where stored.ctid = old.place and new.person is null;

insert into stored_messages (
    delivered_at, bounced_at, opened_at, last_opened_at, human_opened_at, last_human_opened_at, clicked_at,
    last_clicked_at, human_clicked_at, last_human_clicked_at, unsubscribed_at, complained_at, person, mailing, delivery,
    address, opens, human_opens, clicks, human_clicks
)
select
    new.delivered_at,
    new.bounced_at,
    new.opened_at,
    new.last_opened_at,
    new.human_opened_at,
    new.last_human_opened_at,
    new.clicked_at,
    new.last_clicked_at,
    new.human_clicked_at,
    new.last_human_clicked_at,
    new.unsubscribed_at,
    new.complained_at,
    new.person,
    new.mailing,
    new.delivery,
    new.address,
    new.opens,
    new.human_opens,
    new.clicks,
    new.human_clicks
from new_messages as new
left join old_messages as old
    on new.person = old.person and new.mailing = old.mailing and new.delivery = old.delivery
where old.person is null
order by new.delivered_at;

alter table old_messages drop column place;
