"""Freshness and size of the event tables, from indexes and planner statistics instead of full scans."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from loader.postgres.connection import Warehouse, operation
from loader.quoting import quote_identifier
from loader.schema.introspection import EventTable, read_event_tables

#: Larger tables, in bytes without indexes, are estimated instead of counted.
MAX_COUNTED_BYTES = 64 << 20
#: Pages to read at the end of a table. PostgreSQL extends a table by up to 64 pages at once, which are empty at first.
LAST_PAGES = 256
#: Number of days before the newest event that `read_days` returns.
PERIOD_DAYS = 56


@dataclass(frozen=True, slots=True)
class TableFreshness:
    """The number of rows of an event table, its newest event up to now, and when its newest row was loaded."""

    table: str
    rows: int
    is_estimate: bool
    newest_event: datetime | None
    newest_load: datetime | None


def read_freshness(warehouse: Warehouse) -> list[TableFreshness]:
    """Return the freshness of every event table, in the current transaction."""
    return [_read(warehouse, table) for table in read_event_tables(warehouse)]


def _read(warehouse: Warehouse, table: EventTable) -> TableFreshness:
    place = f"{quote_identifier(warehouse.schema)}.{quote_identifier(table.name)}"
    is_estimate = table.heap_bytes > MAX_COUNTED_BYTES
    if is_estimate:  # the planner multiplies the rows per page of the last analyze by the current number of pages
        (((plan,),),) = warehouse.fetch(f"explain (format json) select from {place}")
        rows = plan["Plan"]["Plan Rows"]
    else:
        ((rows,),) = warehouse.fetch(f"select count(*) from {place}")
    # A partitioned table has no pages of its own: start after the last possible page.
    last_pages = f"({max(table.pages - LAST_PAGES, 0)},0)" if table.pages else "(4294967295,0)"
    ((newest_event, newest_load),) = warehouse.fetch(
        operation("newest_event").format(table=place), last_pages=last_pages
    )
    return TableFreshness(table.name, rows, is_estimate, newest_event, newest_load)


def read_days(warehouse: Warehouse, table: TableFreshness) -> list[bool]:
    """Return for each day whether it had events: the PERIOD_DAYS days before the newest event, and the day of it."""
    query = _query(warehouse, table, "days_with_events")
    return [found for (found,) in warehouse.fetch(query, newest=table.newest_event, days=PERIOD_DAYS)]


def read_counts(
    warehouse: Warehouse, table: TableFreshness, newest: datetime, weeks: int
) -> Sequence[tuple[date, int]]:
    """Return the number of events of a day and of the same weekday in the weeks before it, the oldest first.

    The day is that of the newest event, or yesterday if the newest event is of today.
    """
    return warehouse.fetch(_query(warehouse, table, "events_by_weekday"), newest=newest, weeks=weeks)


def _query(warehouse: Warehouse, table: TableFreshness, name: str) -> str:
    schema = quote_identifier(warehouse.schema)
    return operation(name).format(table=f"{schema}.{quote_identifier(table.table)}", settings=f"{schema}.settings")
