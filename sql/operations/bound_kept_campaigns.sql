-- Figures of campaigns that are no sums, where events have been deleted: the first and the last delivery of all, and
-- percentiles of whichever part has more messages, the deleted or the stored one.
update stored_campaigns as stored set
    first_delivered_at = least(stored.first_delivered_at, kept.first_delivered_at),
    last_delivered_at = greatest(stored.last_delivered_at, kept.last_delivered_at),
    seconds_to_open = case
        when (kept.figures ->> 'delivered')::numeric * 2 >= stored.delivered then kept.seconds_to_open
        else stored.seconds_to_open
    end,
    seconds_to_click = case
        when (kept.figures ->> 'delivered')::numeric * 2 >= stored.delivered then kept.seconds_to_click
        else stored.seconds_to_click
    end
from retained_campaigns as kept
inner join stored_names as names on kept.campaign_id = names.campaign_id
where stored.campaign = names.campaign;
