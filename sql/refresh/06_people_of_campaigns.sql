-- How many people a campaign reached: each with any of its messages counts once.
--
-- What a message proves of its person are bits: 1 reached, 2 opened, 4 opened by a person, 8 clicked, 16 clicked by a
-- person. A person has the bits of all their messages of the campaign.
--
-- Reads  changed_messages, new_messages; other messages of the same people and campaigns, by index.
-- Writes stored_campaigns.
-- Cost   follows the people with changed messages.
create temporary table people_changes on commit drop as
with proved as (
    select
        sign,
        mailing,
        person,
        1 + 2 * (opened_at is not null)::int + 4 * (human_opened_at is not null)::int
        + 8 * (clicked_at is not null)::int + 16 * (human_clicked_at is not null)::int as bits
    from changed_messages
    where delivered_at is not null
)

select
    mailings.campaign,
    proved.person,
    coalesce(bit_or(bits) filter (where sign < 0), 0) as old_bits,
    coalesce(bit_or(bits) filter (where sign > 0), 0) as new_bits
from proved
inner join stored_mailings as mailings on proved.mailing = mailings.mailing
group by mailings.campaign, proved.person;

analyze people_changes;

-- What their other messages of the campaign prove, before and after. At first there are no others.
-- Without `offset 0` the planner reads all messages of each person.
with campaigns as (
    select
        campaign,
        array_agg(mailing) as mailings
    from stored_mailings
    group by campaign
),

others as (
    select
        changes.campaign,
        changes.person,
        bit_or(
            1 + 2 * (stored.opened_at is not null)::int + 4 * (stored.human_opened_at is not null)::int
            + 8 * (stored.clicked_at is not null)::int + 16 * (stored.human_clicked_at is not null)::int
        ) as bits
    from people_changes as changes
    inner join campaigns on changes.campaign = campaigns.campaign
    cross join lateral (
        select *
        from stored_messages
        where person = changes.person and mailing = any(campaigns.mailings)
        offset 0 -- noqa: AM09
    ) as stored
    left join new_messages as new
        on stored.person = new.person and stored.mailing = new.mailing and stored.delivery = new.delivery
    where
        (select had_events from this_refresh)
        and stored.delivered_at is not null
        and new.person is null
    group by changes.campaign, changes.person
)

update people_changes as changes set
    old_bits = changes.old_bits | others.bits,
    new_bits = changes.new_bits | others.bits
from others
where changes.campaign = others.campaign and changes.person = others.person;

with counted as (
    select
        campaign,
        sum((new_bits & 1 > 0)::int - (old_bits & 1 > 0)::int) as reached,
        sum((new_bits & 2 > 0)::int - (old_bits & 2 > 0)::int) as opened,
        sum((new_bits & 4 > 0)::int - (old_bits & 4 > 0)::int) as human_opened,
        sum((new_bits & 8 > 0)::int - (old_bits & 8 > 0)::int) as clicked,
        sum((new_bits & 16 > 0)::int - (old_bits & 16 > 0)::int) as human_clicked,
        sum((new_bits & 20 > 0)::int - (old_bits & 20 > 0)::int) as human_seen
    from people_changes
    group by campaign
)

update stored_campaigns as stored set
    recipients = stored.recipients + counted.reached,
    recipients_opened = stored.recipients_opened + counted.opened,
    recipients_human_opened = stored.recipients_human_opened + counted.human_opened,
    recipients_clicked = stored.recipients_clicked + counted.clicked,
    recipients_human_clicked = stored.recipients_human_clicked + counted.human_clicked,
    recipients_human_seen = stored.recipients_human_seen + counted.human_seen
from counted
where stored.campaign = counted.campaign;
