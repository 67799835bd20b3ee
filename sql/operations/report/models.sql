-- The revenue that each attribution model credits to orders made in the period.
with models as (
    select
        substring(name from 'window_(.*)') as name,
        value as time_window
    from settings
    where starts_with(name, 'window_')
),

credited as (
    select
        model,
        sum(attributed_revenue) as revenue
    from attributed_revenue_days
    where
        order_day between %(first)s and %(last)s
        and (%(campaign)s::text is null or campaign_id = %(campaign)s)
    group by model
)

select
    models.name,
    models.name = settings.value as is_default,
    models.time_window,
    coalesce(credited.revenue, 0) as revenue
from models
inner join settings on settings.name = 'default_model'
left join credited on models.name = credited.model
order by coalesce(credited.revenue, 0) desc, models.name asc
