"""Pulse: how fresh and how large the tables of events are, asked of indexes and estimates instead of every row."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime

from loader.postgres.connection import Warehouse, operation
from loader.quoting import quote_identifier
from loader.schema.introspection import EventTable, read_event_tables

#: Tables larger than this, in bytes, are not counted row by row.
MAX_COUNTED_BYTES = 64 << 20
#: Pages at a table's end that are looked at: PostgreSQL adds up to 64 at a time, empty at first.
LAST_PAGES = 256
#: How long the rhythm of a table is looked at, in days.
PERIOD_DAYS = 56
#: How long a reader waits for a table that is being changed.
LOCK_TIMEOUT = "10s"

#: What others commit meanwhile is not seen, so that sums over several tables agree.
_SNAPSHOT = """
    set transaction isolation level repeatable read, read only;
    set local enable_hashjoin to on;
    set local enable_mergejoin to on;
    set local jit to off
"""


@dataclass(frozen=True, slots=True)
class TableFreshness:
    """A table of events: its rows, its newest event that is not of the future, when its newest rows were loaded."""

    table: str
    rows: int
    is_estimate: bool
    newest_event: datetime | None
    newest_load: datetime | None


@contextmanager
def snapshot(warehouse: Warehouse) -> Iterator[None]:
    """Run the body in one transaction that reads only, and sees everything as of one moment."""
    with warehouse.transaction(lock_timeout=LOCK_TIMEOUT):
        warehouse.run(_SNAPSHOT)
        yield


def read_freshness(warehouse: Warehouse) -> list[TableFreshness]:
    """Return the table of every table of events, in the transaction at hand."""
    return [_read(warehouse, table) for table in read_event_tables(warehouse)]


def _read(warehouse: Warehouse, table: EventTable) -> TableFreshness:
    place = f"{quote_identifier(warehouse.schema)}.{quote_identifier(table.name)}"
    is_estimate = table.heap_bytes > MAX_COUNTED_BYTES
    if is_estimate:  # the planner's: rows to a page when it was analyzed, times the pages of now
        (((plan,),),) = warehouse.fetch(f"explain (format json) select from {place}")
        rows = plan["Plan"]["Plan Rows"]
    else:
        ((rows,),) = warehouse.fetch(f"select count(*) from {place}")
    # A partitioned table has no pages of its own.
    last_pages = f"({max(table.pages - LAST_PAGES, 0)},0)" if table.pages else "(4294967295,0)"
    ((newest_event, newest_load),) = warehouse.fetch(
        operation("newest_event").format(table=place), last_pages=last_pages
    )
    return TableFreshness(table.name, rows, is_estimate, newest_event, newest_load)


def read_days(warehouse: Warehouse, table: TableFreshness) -> list[bool]:
    """Return of each of the PERIOD days before the newest event's, and of that, whether it had events."""
    query = _on(warehouse, table, "days_with_events")
    return [found for (found,) in warehouse.fetch(query, newest=table.newest_event, days=PERIOD_DAYS)]


def read_counts(
    warehouse: Warehouse, table: TableFreshness, newest: datetime, weeks: int
) -> Sequence[tuple[date, int]]:
    """Return the events of a day and of the same weekday in the weeks before it, the oldest first.

    The day is that of the newest event, but one that is over.
    """
    return warehouse.fetch(_on(warehouse, table, "events_by_weekday"), newest=newest, weeks=weeks)


def _on(warehouse: Warehouse, table: TableFreshness, name: str) -> str:
    schema = quote_identifier(warehouse.schema)
    return operation(name).format(table=f"{schema}.{quote_identifier(table.table)}", settings=f"{schema}.settings")
