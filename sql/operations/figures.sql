-- How current the figures behind the views are, and which step a running refresh is at.
-- One row. The session of a refresh has the name of its step, and holds the source's advisory lock for refreshes.
with running as (
    select
        substring(pg_stat_activity.application_name from 'refresh (.*)') as step,
        pg_stat_activity.xact_start
    from pg_locks
    inner join pg_stat_activity on pg_locks.pid = pg_stat_activity.pid
    where pg_locks.locktype = 'advisory'
        and pg_locks.granted
        and pg_locks.classid = %(refresh_lock)s
        and pg_locks.objid = hashtext(%(ops)s)::oid
        and pg_locks.database = (select oid from pg_database where datname = current_database())
        and pg_stat_activity.application_name like 'selligent-loader refresh %%'
    order by pg_locks.pid
    limit 1
)

select
    (select loaded_until from refreshed) as refreshed_at,
    (select seconds from refreshed) as seconds,
    (select coalesce(sum(events), 0)::bigint from chunks where not is_taken) as events_behind,
    (select step from running) as step,
    (select xact_start from running) as running_since,
    (select failed_at from refreshed) as failed_at,
    (select error from refreshed) as error
