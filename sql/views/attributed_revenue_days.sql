-- One row per attribution model, campaign, day of the conversion or refund, and currency: what the model credits.
--
-- Each model credits the same conversions: figures add up within one model. Days are in the time zone of the setting
-- reporting_time_zone; a conversion without a time has no day.
create or replace view attributed_revenue_days as
with credited as (
    select
        credits.model,
        mailings.campaign,
        (conversions.converted_at at time zone settings.value)::date as order_day,
        conversions.currency,
        coalesce(sum(credits.credit) filter (where not conversions.is_refund), 0) as conversions,
        coalesce(sum(credits.credit * conversions.revenue), 0) as revenue,
        coalesce(sum(credits.credit * conversions.amount), 0) as attributed_revenue
    from stored_credits as credits
    inner join stored_conversions as conversions on credits.conversion = conversions.conversion
    inner join stored_mailings as mailings on credits.mailing = mailings.mailing
    inner join settings on settings.name = 'reporting_time_zone'
    where conversions.is_counted
    group by credits.model, mailings.campaign, order_day, conversions.currency
)

select
    models.name as model,
    models.name = settings.value as is_default,
    campaign_names.campaign_id,
    campaign_names.campaign_name,
    credited.order_day,
    credited.currency,
    trim_scale(credited.conversions) as conversions,
    trim_scale(credited.revenue) as revenue,
    trim_scale(credited.attributed_revenue) as attributed_revenue,
    (select reporting_currency from refreshed) as reporting_currency
from credited
inner join stored_models as models on credited.model = models.model
inner join campaign_names on credited.campaign = campaign_names.campaign
inner join settings on settings.name = 'default_model';

comment on view attributed_revenue_days is 'One row per attribution model, campaign, day of the order and currency: credited conversions and revenue, which add up within one model';
comment on column attributed_revenue_days.model is 'The attribution model; filter by one, or group by it: each model credits the same conversions';
comment on column attributed_revenue_days.is_default is 'Whether it is the model of the setting default_model, whose sums campaigns and campaign_days have';
comment on column attributed_revenue_days.campaign_id is 'The credited campaign; empty for e-mails without one';
comment on column attributed_revenue_days.campaign_name is 'Its latest name';
comment on column attributed_revenue_days.order_day is 'Day of the conversion or refund, in the reporting time zone';
comment on column attributed_revenue_days.currency is 'Currency of the conversions, in upper case; null if none was sent, which is the reporting currency';
comment on column attributed_revenue_days.conversions is 'Credits of conversions, without refunds; adds up within a model';
comment on column attributed_revenue_days.revenue is 'Credited revenue in that currency, less refunds; adds up within a model and currency';
comment on column attributed_revenue_days.attributed_revenue is 'Credited revenue in the reporting currency, less refunds; adds up within a model. Revenue without an exchange rate is left out';
comment on column attributed_revenue_days.reporting_currency is 'The currency of attributed_revenue';
