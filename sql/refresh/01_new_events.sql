-- New events: those of the new chunks.
--
-- Reads  chunks, new_chunks, and the tables of events once: by the index on uuid_ts, or as a whole if many of their
--        events are new.
-- Writes new_events (temporary).
-- Cost   follows the new events.
create temporary table reading on commit drop as
select (select sum(events) from new_chunks) * 4 > (select coalesce(sum(events), 0) from chunks) as is_whole;

create temporary view coded_events as
select
    id,
    user_id is not null as has_user_id,
    coalesce(user_id, '') as user_id,
    coalesce(anonymous_id, '') as anonymous_id,
    coalesce(context_traits_email, '') as traits_email,
    case event
        when 'email_delivered' then 'd'
        when 'email_opened' then 'o'
        when 'email_machine_opened' then 'm'
        when 'email_link_clicked' then 'c'
        when 'email_bounced' then 'b'
        when 'email_unsubscribed' then 'u'
        else 's'
    end::"char" as event,
    original_timestamp,
    "timestamp",
    uuid_ts,
    campaign_id,
    campaign_name,
    email_id,
    email_subject,
    link_id,
    link_name,
    link_url,
    context_user_agent,
    dimensions
from recorded_events;

create temporary table new_events on commit drop as
select *
from coded_events
limit 0; -- noqa: AM09

-- As a whole in two parts, which two sessions read at the same time: most events are deliveries.
insert into new_events
select *
from coded_events
where
    event = 'd'
    and (select is_whole from reading)
    and uuid_ts in (select uuid_ts from new_chunks);

insert into new_events
select *
from coded_events
where
    event <> 'd'
    and (select is_whole from reading)
    and uuid_ts in (select uuid_ts from new_chunks);

set local enable_seqscan to off;

insert into new_events
select *
from coded_events
where
    (select is_whole is not true from reading)
    and uuid_ts = any(array(select uuid_ts from new_chunks));

reset enable_seqscan;
drop view coded_events;
analyze new_events;
