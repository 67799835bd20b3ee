"""Pending: values that found no place, why, and what to do about them."""

from typing import Any

from loader.catalog import MAX_COLUMNS
from loader.names import quoted
from loader.warehouse import Warehouse

#: What to do about values that were discarded, by reason.
REMEDIES = {
    "no_column": "nothing: each load tries to add the column; `pending` tells what is in its way",
    "misfit": "`selligent-loader widen TABLE COLUMN` makes the column text and fills them in",
    "no_room": "nothing can be done in PostgreSQL: a row has at most 8 kB beside long texts",
    "collision": "ask the sender for one spelling: another property of the event has filled the column",
    "repeated_key": "ask the sender to send the name once: the first value is in the column",
    "reserved": "ask the sender for another name: this one is a standard column's",
    "nameless": "ask the sender for a name with ASCII letters or digits",
    "unread_time": "ask the sender for ISO 8601",
    "unknown_field": "ask the sender to put it into the properties",
}
_PENDING = """
    with waiting as (
        select table_name, property, count(*) as discarded, min(discarded_at) as since
        from discarded_values where reason = 'no_column' group by 1, 2
    )
    select table_name, property, discarded, since, (
        select count(*) from pg_class join pg_attribute on attrelid = pg_class.oid
        where relnamespace = to_regnamespace(%s) and relname = table_name and attnum > 0 and not attisdropped
    )
    from waiting order by discarded desc, table_name, property limit 20
"""
_REASONS = "select reason, count(*) from discarded_values group by reason order by 2 desc, 1"


def read_pending(warehouse: Warehouse) -> list[dict[str, Any]]:
    """Return the properties whose values wait for a column, the most values first, in the transaction at hand."""
    rows = warehouse.fetch(_PENDING, quoted(warehouse.schema))
    return [
        {"table": table, "property": name, "values": count, "since": since, **_obstacle(columns)}
        for table, name, count, since, columns in rows
    ]


def _obstacle(columns: int) -> dict[str, str]:
    """Return why a table of so many columns did not get one more, and what to do."""
    if columns >= MAX_COLUMNS:
        return {
            "why": f"the table has {columns} columns",
            "todo": f"`load --max-columns N` with more than {columns} places them, also without new files",
        }
    return {
        "why": f"a reader held the table, or --max-columns was reached (it has {columns})",
        "todo": "the next load places them; if not, end the reader's transaction or raise --max-columns",
    }


def read_reasons(warehouse: Warehouse) -> list[dict[str, Any]]:
    """Return the discarded values by reason, and what to do about them, in the transaction at hand."""
    rows = warehouse.fetch(_REASONS)
    return [{"reason": reason, "values": count, "todo": REMEDIES.get(reason, "")} for reason, count in rows]
