-- What the figures are made of: the time zone, the currency, and up to when events were loaded.
--
-- Without conversions there is no row of conversions_attributed, and the report has no orders.
select
    (select value from settings where name = 'reporting_time_zone') as zone,
    exists (select from conversions_attributed) as has_site,
    (select reporting_currency from refreshed) as currency,
    (select loaded_until from refreshed) as loaded_until,
    (select sum(events_loaded)::bigint from loads) as events
