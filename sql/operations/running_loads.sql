-- Which loads run, which file each reads and how far; a load is alive while one of its connections holds its lock.
-- One row per running load and file being read.
select
    loads.load_id,
    loads.kind,
    loads.host,
    loads.pid,
    loads.started_at,
    loads.exclusive,
    exists (
        select
        from pg_locks
        where locktype = 'advisory'
            and classid = %(load_lock)s
            and objid = hashtext(%(ops)s || '/' || loads.load_id)::oid
            and granted
            and database = (select oid from pg_database where datname = current_database())
    ) as is_alive,
    being_read.uri,
    being_read.position,
    being_read.size,
    sums.events_read,
    sums.files_done,
    round(sums.events_read / greatest(extract(epoch from now() - loads.started_at), 1))::bigint as events_per_second
from loads
cross join lateral (
    select
        coalesce(sum(files.events_read), 0)::bigint as events_read,
        count(*) filter (where files.status = 'done') as files_done
    from files
    where files.load_id = loads.load_id
) as sums
left join files as being_read on loads.load_id = being_read.load_id and being_read.status = 'running'
where loads.status = 'running'
order by loads.load_id, being_read.uri
