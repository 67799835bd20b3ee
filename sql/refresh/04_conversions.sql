-- Conversions and refunds of the site that are new, changed or gone; the currency of all figures, and exchange rates.
--
-- The reporting currency is that of the setting, else the most frequent one when it is needed first. It is kept while any
-- conversion has it, so that figures do not change their currency from one night to the next.
--
-- Reads  conversion_rows, site_rates; the stored conversions of the days with changes, by index.
-- Writes stored_currencies, stored_rates; conversion_changes, reporting, changed_rates (temporary).
-- Cost   follows the conversions of the days with changes, and the exchange rates of the currencies in use.
create temporary table conversion_changes on commit drop as
with found as (
    select
        sources.source,
        rows.recorded_day,
        buyers.person as buyer,
        case when rows.user_id is null then stored_browsers.browser end as browser,
        rows."timestamp" as converted_at,
        rows.revenue,
        rows.currency,
        rows.id,
        rows.order_id,
        rows.unread,
        rows.is_refund,
        1 as number_of_rows
    from conversion_rows as rows
    inner join stored_sources as sources
        on sources.kind = 'conversions'
        and rows.schema_name = sources.schema_name
        and rows.table_name = sources.table_name
    left join stored_people as buyers on rows.user_id = buyers.name
    left join stored_browsers on rows.anonymous_id = stored_browsers.anonymous_id
    union all
    select
        stored.source,
        stored.recorded_day,
        stored.buyer,
        stored.browser,
        stored.converted_at,
        stored.revenue,
        stored.currency,
        stored.id,
        stored.order_id,
        stored.unread,
        stored.is_refund,
        -1
    from stored_conversions as stored
    inner join compared_days as days on stored.source = days.source and stored.recorded_day = days.recorded_day
)

select
    source,
    recorded_day,
    buyer,
    browser,
    converted_at,
    revenue,
    currency,
    id,
    order_id,
    unread,
    is_refund,
    sum(number_of_rows) as number_of_rows
from found
group by
    source, recorded_day, buyer, browser, converted_at, revenue, currency, id, order_id, unread, is_refund
having sum(number_of_rows) <> 0;

insert into stored_currencies as stored (currency, conversions)
select
    currency,
    sum(number_of_rows) as conversions
from conversion_changes
where currency is not null and revenue is not null
group by currency
having sum(number_of_rows) <> 0
on conflict (currency) do update set conversions = stored.conversions + excluded.conversions;

delete from stored_currencies
where conversions = 0;

create temporary table reporting on commit drop as
select
    case
        when
            read_currency(settings.value) is null
            and not exists (select from stored_currencies where currency = this_refresh.reporting_currency)
            then (
                select currency
                from stored_currencies
                order by conversions desc, currency
                limit 1
            )
        else this_refresh.reporting_currency
    end as currency,
    this_refresh.old_reporting_currency as old_currency
from this_refresh
inner join settings on settings.name = 'reporting_currency';

-- Of several rates of one day the smallest counts.
create temporary table found_rates on commit drop as
select
    rates.currency,
    rates.day,
    min(rates.rate) as rate
from site_rates as rates
inner join stored_currencies as used on rates.currency = used.currency
where rates.day is not null and rates.rate > 0
group by rates.currency, rates.day;

create temporary table changed_rates on commit drop as
select
    coalesce(found.currency, stored.currency) as currency,
    coalesce(found.day, stored.day) as day,
    found.rate
from found_rates as found
full join stored_rates as stored on found.currency = stored.currency and found.day = stored.day
where found.rate is distinct from stored.rate;

analyze changed_rates;

delete from stored_rates as stored
using changed_rates as changed
where stored.currency = changed.currency and stored.day = changed.day;

insert into stored_rates (currency, day, rate)
select
    currency,
    day,
    rate
from changed_rates
where rate is not null;
