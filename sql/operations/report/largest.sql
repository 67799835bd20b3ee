-- The campaign with the most deliveries of each day.
select distinct on (delivery_day)
    delivery_day as day,
    coalesce(campaign_name, campaign_id) as name,
    delivered
from campaign_days
where delivery_day between %(first)s and %(last)s and delivered > 0
order by delivery_day, delivered desc, campaign_id
