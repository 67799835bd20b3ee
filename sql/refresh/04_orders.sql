-- Of several conversions with one order the earliest, which counts; what conversions and refunds are worth.
--
-- A refund belongs to the person of its order and is credited as that, where the order is known. Amounts are in the
-- reporting currency, by the latest rate on or before the day of the conversion; without a rate there is none.
--
-- Reads  conversion_changes, reporting, changed_rates, changed_browsers.
-- Writes stored_conversions; stale_conversions, conversion_people (temporary): whose credits are computed again.
-- Cost   follows the conversions of the days with changes; in another currency or time zone, all conversions.
create temporary table stale_conversions (conversion int, order_key text, person int) on commit drop;

with gone as (
    delete from stored_conversions
    where ctid in (
        select numbered.place
        from (
            select
                stored.ctid as place,
                gone.number_of_rows,
                row_number() over (
                    partition by
                        stored.source, stored.recorded_day, stored.buyer, stored.browser, stored.converted_at,
                        stored.revenue, stored.currency, stored.id, stored.order_id, stored.unread, stored.is_refund
                    order by stored.conversion desc
                ) as number_of_row
            from stored_conversions as stored
            inner join conversion_changes as gone
                on stored.source = gone.source and stored.recorded_day = gone.recorded_day
            where
                gone.number_of_rows < 0
                and (
                    stored.buyer, stored.browser, stored.converted_at, stored.revenue, stored.currency, stored.id,
                    stored.order_id, stored.unread, stored.is_refund
                )
                is not distinct from (
                    gone.buyer, gone.browser, gone.converted_at, gone.revenue, gone.currency, gone.id, gone.order_id,
                    gone.unread, gone.is_refund
                )
        ) as numbered
        where numbered.number_of_row <= -numbered.number_of_rows
    )
    returning conversion, order_key, person
)

insert into stale_conversions
select
    conversion,
    order_key,
    person
from gone;

with new as (
    insert into stored_conversions (
        source, recorded_day, buyer, browser, person, converted_at, credited_at, revenue, amount, currency, id,
        order_id, order_key, unread, is_refund, is_counted
    )
    select
        changes.source,
        changes.recorded_day,
        changes.buyer,
        changes.browser,
        coalesce(changes.buyer, browsers.person) as person,
        changes.converted_at,
        changes.converted_at as credited_at,
        changes.revenue,
        case
            when changes.currency is null or changes.currency = reporting.currency then changes.revenue
        end as amount,
        changes.currency,
        changes.id,
        changes.order_id,
        coalesce(
            case when not changes.is_refund then changes.order_id end,
            sources.schema_name || '/' || sources.table_name || '/' || nullif(changes.id, '')
        ) as order_key,
        changes.unread,
        changes.is_refund,
        (changes.is_refund or changes.order_id is null) and coalesce(changes.id, '') = '' as is_counted
    from conversion_changes as changes
    cross join reporting
    cross join generate_series(1, changes.number_of_rows)
    inner join stored_sources as sources on changes.source = sources.source
    left join stored_browsers as browsers on changes.browser = browsers.browser
    returning conversion, order_key, person
)

insert into stale_conversions
select
    conversion,
    order_key,
    person
from new;

analyze stale_conversions;

with ranked as (
    select
        stored.conversion,
        row_number() over (
            partition by stored.order_key
            order by
                stored.converted_at, sources.schema_name, sources.table_name, stored.id, stored.revenue,
                stored.currency, buyers.name, browsers.anonymous_id, stored.conversion
        ) = 1 as is_counted
    from (select distinct order_key from stale_conversions) as stale
    inner join stored_conversions as stored on stale.order_key = stored.order_key
    inner join stored_sources as sources on stored.source = sources.source
    left join stored_people as buyers on stored.buyer = buyers.person
    left join stored_browsers as browsers on stored.browser = browsers.browser
),

changed as (
    update stored_conversions as stored set is_counted = ranked.is_counted
    from ranked
    where stored.conversion = ranked.conversion and stored.is_counted <> ranked.is_counted
    returning stored.conversion, stored.order_key, stored.person
)

insert into stale_conversions
select
    conversion,
    order_key,
    person
from changed;

-- Those of browsers that are somebody else's now: old and new person.
insert into stale_conversions
select
    stored.conversion,
    stored.order_key,
    unnest(array[changed.old_person, changed.person]) as person
from changed_browsers as changed
inner join stored_conversions as stored on changed.browser = stored.browser;

update stored_conversions as stored set person = changed.person
from changed_browsers as changed
where changed.browser = stored.browser;

-- Refunds of orders that have changed, and refunds that have changed: whose they are, and what they are credited as.
insert into stale_conversions
select
    refunds.conversion,
    null as order_key,
    refunds.person
from (select distinct order_key from stale_conversions) as stale
inner join stored_conversions as refunds on stale.order_key = refunds.order_id and refunds.is_refund;

with refunds as (
    select
        stored.conversion,
        case
            when orders.conversion is null then coalesce(stored.buyer, browsers.person) else orders.person
        end as person,
        case when orders.conversion is null then stored.converted_at else orders.converted_at end as credited_at
    from (select distinct conversion from stale_conversions) as stale
    inner join stored_conversions as stored on stale.conversion = stored.conversion and stored.is_refund
    left join stored_browsers as browsers on stored.browser = browsers.browser
    left join stored_conversions as orders
        on stored.order_id = orders.order_key and orders.is_counted and not orders.is_refund
),

changed as (
    update stored_conversions as stored set person = refunds.person, credited_at = refunds.credited_at
    from refunds
    where
        stored.conversion = refunds.conversion
        and (stored.person, stored.credited_at) is distinct from (refunds.person, refunds.credited_at)
    returning stored.conversion, stored.person
)

insert into stale_conversions
select
    conversion,
    null as order_key,
    person
from changed;

-- Whose amounts change: new ones in other currencies, those with other rates, and all by another currency or time zone.
create temporary table priced_conversions on commit drop as
select stored.conversion
from stale_conversions as stale
inner join stored_conversions as stored on stale.conversion = stored.conversion
cross join reporting
where stored.currency <> reporting.currency and stored.revenue is not null
union
select stored.conversion
from (
    select
        currency,
        min(day) as first_day
    from changed_rates
    group by currency
) as changed
inner join stored_conversions as stored
    on changed.currency = stored.currency
    and stored.converted_at >= (changed.first_day - 2)::timestamp at time zone 'UTC'
where stored.revenue is not null
union
select stored.conversion
from stored_conversions as stored
where
    (
        select this_refresh.dates_again or (reporting.currency = reporting.old_currency) is not true
        from this_refresh
        cross join reporting
    )
    and stored.currency is not null
    and stored.revenue is not null;

analyze priced_conversions;

with priced as (
    select
        stored.conversion,
        stored.revenue * case
            when stored.currency is null or stored.currency = reporting.currency then 1
            else (
                select rates.rate
                from stored_rates as rates
                where
                    stored.currency = rates.currency
                    and rates.day <= (stored.converted_at at time zone settings.value)::date
                order by rates.day desc
                limit 1
            )
        end as amount
    from priced_conversions as stale
    inner join stored_conversions as stored on stale.conversion = stored.conversion
    cross join reporting
    inner join settings on settings.name = 'reporting_time_zone'
),

changed as (
    update stored_conversions as stored set amount = priced.amount
    from priced
    where stored.conversion = priced.conversion and stored.amount is distinct from priced.amount
    returning stored.conversion, stored.person
)

insert into stale_conversions
select
    conversion,
    null as order_key,
    person
from changed;

-- Whose figures of conversions change: whoever has a stale one.
create temporary table conversion_people on commit drop as
select distinct person
from stale_conversions
where person is not null;
