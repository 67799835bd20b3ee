-- The sums of each day with e-mails, of one campaign or of all.
select
    delivery_day as day,
    sum(attempted)::bigint as attempted,
    sum(delivered)::bigint as delivered,
    sum(opened)::bigint as opened,
    sum(human_opened)::bigint as human_opened,
    sum(human_clicked)::bigint as human_clicked,
    sum(unsubscribed)::bigint as unsubscribed,
    sum(conversions) as conversions,
    sum(revenue) as revenue
from campaign_days
where
    delivery_day between %(earliest)s and %(last)s
    and (%(campaign)s::text is null or campaign_id = %(campaign)s)
group by delivery_day
order by delivery_day
