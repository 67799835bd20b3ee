"""Delete or change rows of the event tables by the keys of their events, and free what has been deleted.

Keys are a table of the session, or a part of one, with the columns event, original_timestamp and id.
"""

import logging

from loader.errors import LoaderError
from loader.postgres.connection import Warehouse
from loader.quoting import quote_literal
from loader.schema.event_tables import TRACKS
from loader.schema.introspection import read_event_columns

log = logging.getLogger(__name__)

#: The event of a key: by the unique index, also where the time is null.
_CONDITIONS = (
    "(stored.original_timestamp, stored.id) = (keys.original_timestamp, keys.id)",
    "keys.original_timestamp is null and stored.original_timestamp is null and stored.id = keys.id",
)
#: The keys are read first and on their own: a statement on distributed tables cannot join a table of the session.
_CHANGE = """
    with keys as materialized (select original_timestamp, id from {keys} where {table} in ('{tracks}', event))
    {change} keys
    where {condition}
    returning 1
"""


def delete_rows(warehouse: Warehouse, table: str, keys: str) -> int:
    """Delete the rows of a table that have the keys; return their number."""
    return _change(warehouse, table, keys, f"delete from {warehouse.qualified(table)} as stored using", {})


def update_rows(warehouse: Warehouse, table: str, keys: str, changes: str, **named: str) -> int:
    """Change the rows of a table, which is called `stored`, that have the keys; return their number."""
    change = f"update {warehouse.qualified(table)} as stored set {changes} from"
    return _change(warehouse, table, keys, change, named)


def vacuum(warehouse: Warehouse, *others: str) -> None:
    """Free deleted rows of the event tables and of others, and renew the statistics, which have values of the tables.

    A table that somebody holds a lock on is left to autovacuum.
    """
    with warehouse.transaction():
        tables = [warehouse.qualified(table) for table in read_event_columns(warehouse)]
    for table in (*tables, *others):
        try:
            warehouse.run(f"vacuum (analyze, skip_locked) {table}")
        except LoaderError as exc:
            log.info("%s is not vacuumed: %s", table, exc)


def _change(warehouse: Warehouse, table: str, keys: str, change: str, named: dict[str, str]) -> int:
    parts = {"keys": keys, "change": change, "table": quote_literal(table), "tracks": TRACKS}
    return sum(len(warehouse.fetch(_CHANGE.format(**parts, condition=each), **named)) for each in _CONDITIONS)
