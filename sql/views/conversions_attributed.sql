-- One row per conversion or refund and attribution model; for the linear model one per message that shares the credit.
--
-- A model credits touches of the person within its window before the conversion: the last one, or all equally. The
-- credits of a conversion sum to 1 in each model, or to 0 if no e-mail led to it. Transactional campaigns get none. A
-- refund belongs to the e-mail of its order, if that is known; it lowers revenue, and its credit is 0.
create or replace view conversions_attributed as
select
    sources.schema_name,
    sources.table_name as event,
    stored.id,
    stored.order_id,
    people.name as person,
    stored.converted_at,
    stored.revenue,
    stored.currency,
    models.name as model,
    models.name = settings.value as is_default,
    models.attribution_window,
    stored_names.campaign_id,
    mailings.email_id,
    credits.delivery,
    case credits.touch
        when 'h' then 'human_click'
        when 'c' then 'click'
        when 'o' then 'open'
        when 'd' then 'delivery'
    end as touch,
    credits.touched_at,
    stored.converted_at - credits.touched_at as time_since,
    trim_scale(case when stored.is_refund then 0 else coalesce(credits.credit, 0) end) as credit,
    trim_scale(coalesce(credits.credit, 0) * stored.amount) as attributed_revenue,
    stored.is_refund,
    trim_scale(stored.amount) as reporting_revenue,
    (select reporting_currency from refreshed) as reporting_currency,
    stored_names.campaign_name,
    (extract(epoch from stored.converted_at - credits.touched_at) / 3600)::double precision as hours_since_touch
from stored_conversions as stored
inner join stored_sources as sources on stored.source = sources.source
cross join stored_models as models
inner join settings on settings.name = 'default_model'
left join stored_credits as credits on stored.conversion = credits.conversion and models.model = credits.model
left join stored_people as people on stored.person = people.person
left join stored_mailings as mailings on credits.mailing = mailings.mailing
left join stored_names on mailings.campaign = stored_names.campaign
where stored.is_counted;

comment on view conversions_attributed is 'One row per conversion or refund and attribution model, for the linear model one per credited message';
comment on column conversions_attributed.schema_name is 'The schema of the site''s data';
comment on column conversions_attributed.event is 'The table of the conversion in that schema';
comment on column conversions_attributed.id is 'The conversion or refund';
comment on column conversions_attributed.order_id is 'The order';
comment on column conversions_attributed.person is 'The person: a user id, else an e-mail address; null for a visitor who never identified';
comment on column conversions_attributed.converted_at is 'Time of the conversion';
comment on column conversions_attributed.revenue is 'Revenue of the conversion, as it was sent; negative for a refund, null if it cannot be read. Each conversion has a row for each model: a sum counts it several times, use attributed_revenue of one model';
comment on column conversions_attributed.currency is 'Its currency, in upper case; without one it is the reporting currency';
comment on column conversions_attributed.model is 'The attribution model; filter by one, or group by it: each model credits the same conversions';
comment on column conversions_attributed.is_default is 'Whether it is the model of the setting default_model';
comment on column conversions_attributed.attribution_window is 'The longest time from touch to conversion; a setting';
comment on column conversions_attributed.campaign_id is 'The credited campaign; null without credit';
comment on column conversions_attributed.email_id is 'The credited e-mail';
comment on column conversions_attributed.delivery is 'The credited delivery of it';
comment on column conversions_attributed.touch is 'The credited touch: human_click, click, open or delivery; null without credit';
comment on column conversions_attributed.touched_at is 'Time of that touch; of several, the last';
comment on column conversions_attributed.time_since is 'Time from that touch to the conversion';
comment on column conversions_attributed.credit is 'Share of the conversion: 1, a part in the linear model, 0 without an e-mail and for a refund; adds up to conversions within a model';
comment on column conversions_attributed.attributed_revenue is 'credit × reporting_revenue, of a refund by the credit of its order; null where reporting_revenue is. Adds up within a model';
comment on column conversions_attributed.is_refund is 'Whether it lowers revenue: a negative amount, or an event of the setting refund_events';
comment on column conversions_attributed.reporting_revenue is 'Revenue in the reporting currency; null in another currency without an exchange rate. A sum counts a conversion once for each model and credited message: use attributed_revenue of one model';
comment on column conversions_attributed.reporting_currency is 'The currency of all sums of revenue';
comment on column conversions_attributed.campaign_name is 'Latest name of the credited campaign';
comment on column conversions_attributed.hours_since_touch is 'Hours from that touch to the conversion';
