-- How many people a campaign reached: each with any of its messages counts once.
--
-- Reads  old_messages, new_messages; other messages of the same people and campaigns, by index.
-- Writes stored_campaigns.
-- Cost   follows the people with changed messages.
create temporary table people_changes on commit drop as
with changed as (
    select -1 as sign, mailing, person, opened_at, human_opened_at, clicked_at, human_clicked_at
    from old_messages
    where delivered_at is not null
    union all
    select 1, mailing, person, opened_at, human_opened_at, clicked_at, human_clicked_at
    from new_messages
    where delivered_at is not null
)

select
    mailings.campaign,
    changed.person,
    coalesce(bool_or(sign < 0), false) as was_reached,
    coalesce(bool_or(sign < 0 and opened_at is not null), false) as had_opened,
    coalesce(bool_or(sign < 0 and human_opened_at is not null), false) as had_human_opened,
    coalesce(bool_or(sign < 0 and clicked_at is not null), false) as had_clicked,
    coalesce(bool_or(sign < 0 and human_clicked_at is not null), false) as had_human_clicked,
    coalesce(bool_or(sign > 0), false) as is_reached,
    coalesce(bool_or(sign > 0 and opened_at is not null), false) as has_opened,
    coalesce(bool_or(sign > 0 and human_opened_at is not null), false) as has_human_opened,
    coalesce(bool_or(sign > 0 and clicked_at is not null), false) as has_clicked,
    coalesce(bool_or(sign > 0 and human_clicked_at is not null), false) as has_human_clicked
from changed
inner join stored_mailings as mailings on changed.mailing = mailings.mailing
group by mailings.campaign, changed.person;

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
        bool_or(stored.opened_at is not null) as has_opened,
        bool_or(stored.human_opened_at is not null) as has_human_opened,
        bool_or(stored.clicked_at is not null) as has_clicked,
        bool_or(stored.human_clicked_at is not null) as has_human_clicked
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
    was_reached = true,
    had_opened = changes.had_opened or others.has_opened,
    had_human_opened = changes.had_human_opened or others.has_human_opened,
    had_clicked = changes.had_clicked or others.has_clicked,
    had_human_clicked = changes.had_human_clicked or others.has_human_clicked,
    is_reached = true,
    has_opened = changes.has_opened or others.has_opened,
    has_human_opened = changes.has_human_opened or others.has_human_opened,
    has_clicked = changes.has_clicked or others.has_clicked,
    has_human_clicked = changes.has_human_clicked or others.has_human_clicked
from others
where changes.campaign = others.campaign and changes.person = others.person;

with summed as (
    select
        campaign,
        sum(is_reached::int - was_reached::int) as reached,
        sum(has_opened::int - had_opened::int) as opened,
        sum(has_human_opened::int - had_human_opened::int) as human_opened,
        sum(has_clicked::int - had_clicked::int) as clicked,
        sum(has_human_clicked::int - had_human_clicked::int) as human_clicked,
        sum(
            (has_human_opened or has_human_clicked)::int - (had_human_opened or had_human_clicked)::int
        ) as human_seen
    from people_changes
    group by campaign
)

update stored_campaigns as stored set
    recipients = stored.recipients + summed.reached,
    recipients_opened = stored.recipients_opened + summed.opened,
    recipients_human_opened = stored.recipients_human_opened + summed.human_opened,
    recipients_clicked = stored.recipients_clicked + summed.clicked,
    recipients_human_clicked = stored.recipients_human_clicked + summed.human_clicked,
    recipients_human_seen = stored.recipients_human_seen + summed.human_seen
from summed
where stored.campaign = summed.campaign;
