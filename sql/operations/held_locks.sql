-- Which of the loader's advisory locks are held or waited for, and by which load.
-- One row per lock and session.
select
    ours.name,
    loads.load_id,
    files.uri,
    pg_locks.granted,
    pg_stat_activity.application_name,
    pg_locks.pid as backend,
    loads.host,
    loads.pid
from pg_locks
inner join unnest(%(keys)s::bigint[], %(names)s::text[]) as ours (key, name) on ours.key = pg_locks.classid::bigint
left join pg_stat_activity on pg_locks.pid = pg_stat_activity.pid
left join files
    on pg_locks.classid = %(file_lock)s
    and files.status = 'running'
    and hashtext(%(ops)s || '/' || files.uri)::oid = pg_locks.objid
left join loads
    on loads.status = 'running'
    and (
        files.load_id = loads.load_id
        or pg_locks.classid = %(load_lock)s and hashtext(%(ops)s || '/' || loads.load_id)::oid = pg_locks.objid
    )
where pg_locks.locktype = 'advisory'
    and pg_locks.database = (select oid from pg_database where datname = current_database())
order by pg_locks.classid, pg_locks.objid, pg_locks.pid
