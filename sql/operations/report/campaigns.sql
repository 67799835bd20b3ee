-- The campaigns of the period that sold most; without data of the site those with the most deliveries.
select
    campaign_id,
    campaign_name,
    sum(delivered)::bigint as delivered,
    sum(human_opened)::bigint as human_opened,
    sum(human_clicked)::bigint as human_clicked,
    sum(unsubscribed)::bigint as unsubscribed,
    sum(conversions) as conversions,
    sum(revenue) as revenue
from campaign_days
where delivery_day between %(first)s and %(last)s
group by campaign_id, campaign_name
having sum(delivered) > 0
order by case when %(has_site)s then sum(revenue) end desc nulls last, sum(delivered) desc, campaign_id asc
limit 10
