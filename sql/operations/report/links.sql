-- The links with the most clicks of people in the period; a link is one in all e-mails of a campaign.
select
    coalesce(link_name, link_id, link_url) as name,
    coalesce(campaign_name, campaign_id) as campaign,
    sum(human_clicks)::bigint as human_clicks,
    sum(clicks)::bigint as clicks
from link_days
where
    click_day between %(first)s and %(last)s
    and (%(campaign)s::text is null or campaign_id = %(campaign)s)
group by coalesce(link_name, link_id, link_url), campaign_id, campaign_name
having sum(human_clicks) > 0
order by sum(human_clicks) desc, name asc, campaign asc
limit 6
