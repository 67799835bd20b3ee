"""Read the state of a source: loads, collections, rejects, discarded values and locks. Works during a load."""

from collections.abc import Callable, Mapping
from typing import Any

from loader.events.outcomes import DISCARD_REMEDIES, describe_remedy
from loader.monitoring.forwarding_state import read_states_now
from loader.monitoring.freshness import read_freshness
from loader.pipeline.ledger import read_running_loads
from loader.postgres import advisory_locks
from loader.postgres.connection import Warehouse, operation
from loader.schema.introspection import read_columns
from loader.schema.limits import MAX_COLUMNS
from loader.version import __version__
from loader.views.figures import read_figures

_REASONS = "select reason, count(*) from discarded_values group by reason order by 2 desc, 1"


def read_pending(warehouse: Warehouse) -> list[dict[str, Any]]:
    """Return the properties whose values wait for a column, the most values first, in the current transaction."""
    columns = read_columns(warehouse)
    return [
        {"table": table, "property": name, "values": count, "since": since, **_obstacle(len(columns.get(table, ())))}
        for table, name, count, since in warehouse.fetch(operation("pending_columns"))
    ]


def _obstacle(columns: int) -> dict[str, str]:
    """Return why a table with this many columns did not get another one, and what to do."""
    if columns >= MAX_COLUMNS:
        return {
            "why": f"the table has {columns} columns",
            "todo": f"run `load --max-columns N` with N above {columns}; it writes them, also without new files",
        }
    return {
        "why": f"a reader held a lock on the table, or --max-columns was reached (it has {columns} columns)",
        "todo": "the next load writes them; if not, end the reader's transaction or raise --max-columns",
    }


def read_reasons(warehouse: Warehouse) -> list[dict[str, Any]]:
    """Return the number of discarded values by reason, and what to do about them, in the current transaction."""
    rows = warehouse.fetch(_REASONS)
    return [{"reason": reason, "values": count, "todo": DISCARD_REMEDIES.get(reason, "")} for reason, count in rows]


Rows = list[dict[str, Any]]

#: Names of the loader's advisory locks by their first key.
LOCKS = {
    advisory_locks.SCHEMA: "schema",
    advisory_locks.LOAD: "load",
    advisory_locks.FILE: "file",
    advisory_locks.REFRESH: "refresh",
    advisory_locks.BEGIN: "begin",
    advisory_locks.INCIDENT: "incident",
    advisory_locks.FILL: "fill",
}

_SCHEMA = "select %s, version_num, %s from alembic_version"
_LOADS = """
    select load_id, kind, status, started_at, extract(epoch from finished_at - started_at)::float8, files,
        events_read, events_loaded, events_duplicate, events_rejected, events_clock_suspect, error
    from (select *, row_number() over (partition by kind order by load_id desc) as place from loads) as latest
    where place <= 10 and status <> 'running'
    order by load_id desc
"""
_REJECTS = "select reason, count(*) from rejected_events where replayed_at is null group by reason order by 2 desc, 1"
_DISCARDS = """
    select table_name, property, reason, count(*) from discarded_values
    group by table_name, property, reason order by 4 desc, 1, 2, 3 limit 20
"""


def read_status(warehouse: Warehouse) -> dict[str, Rows]:
    """Return all sections in one snapshot, each as a list of rows."""
    with warehouse.snapshot():
        return {title: read(warehouse) for title, read in SECTIONS.items()}


def _schema(warehouse: Warehouse) -> Rows:
    return _named(warehouse.fetch(_SCHEMA, warehouse.schema, __version__), "schema", "version", "loader")


def _running(warehouse: Warehouse) -> Rows:
    names = {"pid": "process"}
    return [
        {names.get(name, name): value for name, value in load.items() if name != "exclusive"}
        for load in read_running_loads(warehouse)
    ]


def _collections(warehouse: Warehouse) -> Rows:
    """Return the event tables; rows of large ones are the planner's estimate."""
    return [
        {
            "table": table.table,
            "rows": table.rows,
            "rows_are": "estimated" if table.is_estimate else "counted",
            "newest_event": table.newest_event,
            "newest_load": table.newest_load,
        }
        for table in read_freshness(warehouse)
    ]


def _loads(warehouse: Warehouse) -> Rows:
    return _named(
        warehouse.fetch(_LOADS),
        *("load_id", "kind", "status", "started_at", "seconds", "files"),
        *("events_read", "events_loaded", "events_duplicate", "events_rejected", "events_clock_suspect", "error"),
    )


def _rejects(warehouse: Warehouse) -> Rows:
    return _named(warehouse.fetch(_REJECTS), "reason", "events")


def _discards(warehouse: Warehouse) -> Rows:
    """Return the most frequent properties with discarded values; `todo` names the table and the column."""
    rows = _named(warehouse.fetch(_DISCARDS), "table", "property", "reason", "values")
    return [{**row, "todo": describe_remedy(row["reason"], row["table"], row["property"])} for row in rows]


def _integrations(warehouse: Warehouse) -> Rows:
    names = (
        *("name", "status", "events_delivered", "events_per_second", "lag_events", "lag_seconds", "undelivered_now"),
        *("failures", "failing_since", "error", "host", "updated_at"),
    )
    return [{name: state[name] for name in names} for state in read_states_now(warehouse)]


def _locks(warehouse: Warehouse) -> Rows:
    rows = warehouse.fetch(
        operation("held_locks"),
        keys=list(LOCKS),
        names=list(LOCKS.values()),
        load_lock=advisory_locks.LOAD,
        file_lock=advisory_locks.FILE,
        ops=warehouse.ops,
    )
    return _named(rows, "lock", "load_id", "uri", "is_granted", "application", "backend", "host", "process")


#: The sections by title, with the functions that read them.
SECTIONS: Mapping[str, Callable[[Warehouse], Rows]] = {
    "schema": _schema,
    "running": _running,
    "collections": _collections,
    "figures": read_figures,
    "loads": _loads,
    "rejects": _rejects,
    "discards": _discards,
    "discard_reasons": read_reasons,
    "pending": read_pending,
    "integrations": _integrations,
    "locks": _locks,
}


def _named(rows: list[tuple[Any, ...]], *names: str) -> Rows:
    return [dict(zip(names, row, strict=True)) for row in rows]
