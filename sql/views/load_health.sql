-- One row per check of the data: the value found and the value expected.
create or replace view load_health as
with collected as (
    select
        count(*) as events,
        count(*) - count(distinct (event, id)) as repeated_ids,
        max("timestamp") as newest_event,
        max(uuid_ts) as newest_load
    from recorded_events
),

ledger as (
    select
        coalesce(sum(events_read), 0) as events_read,
        coalesce(
            sum(events_loaded + events_duplicate + events_rejected + events_ignored + events_suppressed), 0
        ) as events_accounted_for,
        coalesce(sum(events_duplicate), 0) as duplicates
    from loads
),

rejected as (
    select count(*) as events from rejected_events where replayed_at is null
),

discarded as (
    select count(*) as discards from discarded_values
),

aggregate as (
    select count(*) as events
    from tracks
    where event in (
        'email_delivered', 'email_opened', 'email_machine_opened', 'email_link_clicked', 'email_bounced',
        'email_unsubscribed', 'email_marked_as_spam'
    )
),

money as (
    select
        count(*) filter (where unread is not null) as unread,
        count(*) filter (where revenue is not null and amount is null) as other_currencies
    from stored_conversions
    where is_counted and (unread is not null or (revenue is not null and amount is null))
),

sums as (
    select
        figure,
        case
            when count(distinct total) = 1 then min(total)::text
            else string_agg(view_name || ' ' || total, ', ' order by place)
        end as found,
        max(total) filter (where place = 1)::text as expected
    from figure_sums
    group by figure
),

checks as (
    select
        1 as place,
        'events in tracks' as check_name,
        aggregate.events::text as found,
        collected.events::text as expected
    from aggregate
    cross join collected
    union all
    select
        2 as place,
        'events in email_events' as check_name,
        (select count(*) from email_events)::text as found,
        collected.events::text as expected
    from collected
    union all
    select
        3 as place,
        'deliveries in campaigns' as check_name,
        (select coalesce(sum(delivered), 0) from campaigns)::text as found,
        (select count(*) from email_delivered)::text as expected
    union all
    select
        4 as place,
        'events accounted for by loads' as check_name,
        events_accounted_for::text as found,
        events_read::text as expected
    from ledger
    union all
    select
        5 as place,
        'ids under two timestamps' as check_name,
        repeated_ids::text as found,
        '0' as expected
    from collected
    union all
    select
        6 as place,
        'rejected events' as check_name,
        events::text as found,
        '0' as expected
    from rejected
    union all
    select
        7 as place,
        'discarded values' as check_name,
        discards::text as found,
        '0' as expected
    from discarded
    union all
    select
        8 as place,
        'duplicates left out' as check_name,
        duplicates::text as found,
        null as expected
    from ledger
    union all
    select
        9 as place,
        'newest event' as check_name,
        (newest_event at time zone 'UTC')::text as found,
        null as expected
    from collected
    union all
    select
        10 as place,
        'newest load' as check_name,
        (newest_load at time zone 'UTC')::text as found,
        null as expected
    from collected
    union all
    select
        11 as place,
        'reporting_currency' as check_name,
        (select reporting_currency from refreshed) as found,
        null as expected
    union all
    select
        12 as place,
        'revenue_other_currencies' as check_name,
        other_currencies::text as found,
        '0' as expected
    from money
    union all
    select
        13 as place,
        'revenue_unread' as check_name,
        unread::text as found,
        '0' as expected
    from money
    union all
    select
        14 as place,
        'sum of ' || figure as check_name,
        found,
        expected
    from sums
)

select
    check_name,
    found,
    expected,
    coalesce(found = expected, true) as is_ok
from checks
order by place, check_name;

comment on view load_health is 'One row per check of the data: the value found and the value expected';
comment on column load_health.check_name is 'What is checked';
comment on column load_health.found is 'What was found; times are UTC';
comment on column load_health.expected is 'What it should be; null where there is nothing to compare with';
comment on column load_health.is_ok is 'Whether they are equal; true where there is nothing to compare with';
