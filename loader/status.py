"""Status: what a source's schemas say of loads, collections, rejects and discards; reads only, also during a load."""

from collections.abc import Callable, Mapping
from typing import Any

from loader import __version__, locks
from loader.pending import read_pending, read_reasons
from loader.pulse import read_pulses, snapshot
from loader.warehouse import Warehouse

Rows = list[dict[str, Any]]

#: Our advisory locks by their first key.
LOCKS = {
    locks.SCHEMA: "schema",
    locks.LOAD: "load",
    locks.FILE: "file",
    locks.REFRESH: "refresh",
    locks.BEGIN: "begin",
    locks.INCIDENT: "incident",
    locks.FILL: "fill",
}

_SCHEMA = "select %s, version_num, %s from alembic_version"
#: Whether a load lives: one of its connections holds its lock. Takes the lock's number and the ops schema.
IS_ALIVE = """
    exists (
        select from pg_locks
        where locktype = 'advisory' and classid = %s and objid = hashtext(%s || '/' || load_id)::oid and granted
            and database = (select oid from pg_database where datname = current_database())
    )
"""
_RUNNING = f"""
    select load_id, kind, host, loads.pid, loads.started_at, {IS_ALIVE},
        uri, position, size, sums.events_read, sums.files_done,
        round(sums.events_read / greatest(extract(epoch from now() - loads.started_at), 1))::bigint
    from loads
    cross join lateral (
        select coalesce(sum(files.events_read), 0)::bigint as events_read,
            count(*) filter (where files.status = 'done') as files_done
        from files where files.load_id = loads.load_id
    ) as sums
    left join lateral (
        select uri, position, size from files where files.load_id = loads.load_id and files.status = 'running'
    ) as at_hand on true
    where loads.status = 'running'
    order by load_id, uri
"""
_LOADS = """
    select load_id, kind, status, started_at, extract(epoch from finished_at - started_at)::float8, files,
        events_read, events_loaded, events_duplicate, events_rejected, error
    from (select *, row_number() over (partition by kind order by load_id desc) as place from loads) as latest
    where place <= 10 and status <> 'running'
    order by load_id desc
"""
_REJECTS = "select reason, count(*) from rejected_events where replayed_at is null group by reason order by 2 desc, 1"
_DISCARDS = """
    select table_name, property, reason, count(*) from discarded_values
    group by table_name, property, reason order by 4 desc, 1, 2, 3 limit 20
"""
_LOCKED = """
    select ours.name, loads.load_id, uri, pg_locks.granted,
        pg_stat_activity.application_name, pg_locks.pid, host, loads.pid
    from pg_locks
    join unnest(%s::bigint[], %s::text[]) as ours (key, name) on ours.key = classid::bigint
    left join pg_stat_activity on pg_stat_activity.pid = pg_locks.pid
    left join files on classid = %s and files.status = 'running'
        and hashtext(%s || '/' || files.uri)::oid = objid
    left join loads on loads.status = 'running' and (
        loads.load_id = files.load_id or classid = %s and hashtext(%s || '/' || loads.load_id)::oid = objid
    )
    where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())
    order by classid, objid, pg_locks.pid
"""


def read_status(warehouse: Warehouse) -> dict[str, Rows]:
    """Return all sections as of one moment, each as rows with names."""
    with snapshot(warehouse):
        return {title: read(warehouse) for title, read in SECTIONS.items()}


def _schema(warehouse: Warehouse) -> Rows:
    return _named(warehouse.fetch(_SCHEMA, warehouse.schema, __version__), "schema", "version", "loader")


def _running(warehouse: Warehouse) -> Rows:
    return _named(
        warehouse.fetch(_RUNNING, locks.LOAD, warehouse.ops),
        *("load_id", "kind", "host", "process", "started_at", "is_alive", "uri", "position", "size"),
        *("events_read", "files_done", "events_per_second"),
    )


def _collections(warehouse: Warehouse) -> Rows:
    """Rows of small tables are counted, those of large ones are PostgreSQL's estimate."""
    return [
        {
            "table": pulse.table,
            "rows": pulse.rows,
            "rows_are": "estimated" if pulse.is_estimate else "counted",
            "newest_event": pulse.newest_event,
            "newest_load": pulse.newest_load,
        }
        for pulse in read_pulses(warehouse)
    ]


def _loads(warehouse: Warehouse) -> Rows:
    return _named(
        warehouse.fetch(_LOADS),
        *("load_id", "kind", "status", "started_at", "seconds", "files"),
        *("events_read", "events_loaded", "events_duplicate", "events_rejected", "error"),
    )


def _rejects(warehouse: Warehouse) -> Rows:
    return _named(warehouse.fetch(_REJECTS), "reason", "events")


def _discards(warehouse: Warehouse) -> Rows:
    return _named(warehouse.fetch(_DISCARDS), "table", "property", "reason", "values")


def _locks(warehouse: Warehouse) -> Rows:
    names = list(LOCKS), list(LOCKS.values())
    return _named(
        warehouse.fetch(_LOCKED, *names, locks.FILE, warehouse.ops, locks.LOAD, warehouse.ops),
        *("lock", "load_id", "uri", "is_granted", "application", "backend", "host", "process"),
    )


#: What each section is called, and who reads it.
SECTIONS: Mapping[str, Callable[[Warehouse], Rows]] = {
    "schema": _schema,
    "running": _running,
    "collections": _collections,
    "loads": _loads,
    "rejects": _rejects,
    "discards": _discards,
    "discard_reasons": read_reasons,
    "pending": read_pending,
    "locks": _locks,
}


def _named(rows: list[tuple[Any, ...]], *names: str) -> Rows:
    return [dict(zip(names, row, strict=True)) for row in rows]
