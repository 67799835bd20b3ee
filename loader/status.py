"""Status: what a source's schemas say of loads, collections, rejects and discards; read-only."""

from typing import Any

from loader.names import quoted
from loader.pending import read_pending, read_reasons
from loader.warehouse import Warehouse

_LOADS = """
    select load_id, status, started_at, extract(epoch from coalesce(finished_at, now()) - started_at)::float8, files,
        events_read, events_loaded, events_duplicate, events_rejected, error
    from loads order by load_id desc limit 10
"""
_TABLES = """
    select relname from pg_class
    where relnamespace = to_regnamespace(%s) and relkind in ('r', 'p')
        and exists (select from pg_attribute where attrelid = pg_class.oid and attname = 'uuid_ts')
    order by relname
"""
_COLLECTION = "select %s, count(*), max(original_timestamp), max(uuid_ts) from {table}"
_REJECTS = "select reason, count(*) from rejected_events where replayed_at is null group by reason order by 2 desc, 1"
_DISCARDS = """
    select table_name, property, reason, count(*) from discarded_values
    group by table_name, property, reason order by 4 desc, 1, 2, 3 limit 20
"""


def read_status(warehouse: Warehouse) -> dict[str, list[dict[str, Any]]]:
    """Return the last loads, the collections, and the rejects and discarded values by reason."""
    with warehouse.transaction():
        tables = [name for (name,) in warehouse.fetch(_TABLES, quoted(warehouse.schema))]
        place = quoted(warehouse.schema)
        collections = [warehouse.fetch(_COLLECTION.format(table=f"{place}.{quoted(name)}"), name)[0] for name in tables]
        loads = warehouse.fetch(_LOADS)
        rejects = warehouse.fetch(_REJECTS)
        discards = warehouse.fetch(_DISCARDS)
        pending, reasons = read_pending(warehouse), read_reasons(warehouse)
    return {
        "collections": _named(collections, "table", "rows", "newest_event", "newest_load"),
        "loads": _named(
            loads,
            *("load_id", "status", "started_at", "seconds", "files"),
            *("events_read", "events_loaded", "events_duplicate", "events_rejected", "error"),
        ),
        "rejects": _named(rejects, "reason", "events"),
        "discards": _named(discards, "table", "property", "reason", "values"),
        "discard_reasons": reasons,
        "pending": pending,
    }


def _named(rows: list[tuple[Any, ...]], *names: str) -> list[dict[str, Any]]:
    return [dict(zip(names, row, strict=True)) for row in rows]
