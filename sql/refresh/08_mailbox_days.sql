-- Messages by the domain of their address and the day of their delivery.
--
-- A message without an address counts for the address of its person, which may change without the message.
--
-- Reads  dated_messages, new_messages, old_recipients, renewed_recipients, known_people; stored people and messages by
--        index.
-- Writes stored_mailbox_days.
-- Cost   follows the messages that changed, and those without an address of people whose address changed.
create temporary table moved_addresses on commit drop as
select
    old.person,
    old.address as old_address,
    new.address
from old_recipients as old
left join renewed_recipients as new on old.person = new.person
where old.address is distinct from new.address;

analyze moved_addresses;

-- The domains of addresses: most are of new events, the first time all.
create temporary table mailboxes on commit drop as
select
    person as address,
    split_part(name, '@', -1) as domain
from known_people
where name like '%@%';

analyze mailboxes;

insert into mailboxes (address, domain)
select
    other.address,
    people.domain
from (
    select address from dated_messages
    union all
    select address from old_recipients
    union all
    select address from renewed_recipients
    except
    select address from mailboxes
) as other
cross join lateral (
    select split_part(name, '@', -1) as domain
    from stored_people
    where person = other.address
    offset 0 -- noqa: AM09
) as people
where (select had_events from this_refresh);

analyze mailboxes;

create temporary table mailbox_changes on commit drop as
with messages as (
    select
        sign, person, address, delivered_at, bounced_at, opened_at, human_opened_at, clicked_at, human_clicked_at,
        unsubscribed_at, complained_at
    from dated_messages
    union all
    -- Those that did not change, of people whose address did.
    select
        signs.sign, stored.person, null, stored.delivered_at, stored.bounced_at, stored.opened_at,
        stored.human_opened_at, stored.clicked_at, stored.human_clicked_at, stored.unsubscribed_at, stored.complained_at
    from moved_addresses as moved
    inner join stored_messages as stored on moved.person = stored.person and stored.address is null
    left join new_messages as new
        on stored.person = new.person and stored.mailing = new.mailing and stored.delivery = new.delivery
    cross join (values (-1), (1)) as signs (sign)
    where new.person is null and (select not dates_again from this_refresh)
),

addressed as (
    select
        messages.*,
        coalesce(messages.address, recipients.address, old.address) as counted_address
    from messages
    left join renewed_recipients as recipients
        on case when messages.address is null and messages.sign > 0 then messages.person end = recipients.person
    left join old_recipients as old
        on case when messages.address is null and messages.sign < 0 then messages.person end = old.person
)

select
    coalesce(mailboxes.domain, '') as mailbox_domain,
    (
        coalesce(delivered_at, bounced_at, least(opened_at, clicked_at, unsubscribed_at, complained_at))
        at time zone settings.value
    )::date as delivery_day,
    sum(sign) as messages,
    coalesce(sum(sign) filter (where delivered_at is not null or bounced_at is not null), 0) as attempted,
    coalesce(sum(sign) filter (where delivered_at is not null), 0) as delivered,
    coalesce(sum(sign) filter (where delivered_at is not null and bounced_at is null), 0) as arrived,
    coalesce(sum(sign) filter (where bounced_at is not null), 0) as bounced,
    coalesce(sum(sign) filter (where delivered_at is not null and opened_at is not null), 0) as opened,
    coalesce(sum(sign) filter (where delivered_at is not null and human_opened_at is not null), 0) as human_opened,
    coalesce(sum(sign) filter (where delivered_at is not null and clicked_at is not null), 0) as clicked,
    coalesce(sum(sign) filter (where delivered_at is not null and human_clicked_at is not null), 0) as human_clicked,
    coalesce(sum(sign) filter (where delivered_at is not null and unsubscribed_at is not null), 0) as unsubscribed,
    coalesce(sum(sign) filter (where delivered_at is not null and complained_at is not null), 0) as complained
from addressed
inner join settings on settings.name = 'reporting_time_zone'
left join mailboxes on addressed.counted_address = mailboxes.address
group by mailbox_domain, delivery_day;

analyze mailbox_changes;

delete from stored_mailbox_days
where (select dates_again from this_refresh);

insert into stored_mailbox_days as stored (
    mailbox_domain, delivery_day, messages, attempted, delivered, arrived, bounced, opened, human_opened, clicked,
    human_clicked, unsubscribed, complained
)
select *
from mailbox_changes
on conflict (mailbox_domain, delivery_day) do update set
messages = stored.messages + excluded.messages,
attempted = stored.attempted + excluded.attempted,
delivered = stored.delivered + excluded.delivered,
arrived = stored.arrived + excluded.arrived,
bounced = stored.bounced + excluded.bounced,
opened = stored.opened + excluded.opened,
human_opened = stored.human_opened + excluded.human_opened,
clicked = stored.clicked + excluded.clicked,
human_clicked = stored.human_clicked + excluded.human_clicked,
unsubscribed = stored.unsubscribed + excluded.unsubscribed,
complained = stored.complained + excluded.complained;

delete from stored_mailbox_days as stored
using mailbox_changes as changes
where
    stored.mailbox_domain = changes.mailbox_domain
    and stored.delivery_day = changes.delivery_day
    and stored.messages = 0;

drop view dated_messages;
