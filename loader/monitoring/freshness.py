"""Freshness and size of the event tables, from indexes and planner statistics instead of full scans."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from loader.postgres.connection import Warehouse, operation
from loader.quoting import quote_identifier
from loader.schema.distribution import measure_event_tables
from loader.schema.introspection import EventTable

#: Larger tables, in bytes without indexes, are estimated instead of counted.
MAX_COUNTED_BYTES = 64 << 20
#: Pages to read at the end of a table. PostgreSQL extends a table by up to 64 pages at once, which are empty at first.
LAST_PAGES = 256
#: Chunks whose rows are looked at for the newest one of a distributed table.
LAST_CHUNKS = 20
_RECENT_CHUNK = "select min(uuid_ts) from (select uuid_ts from chunks order by uuid_ts desc limit %s) as recent"
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
    is_distributed: bool = False


def read_freshness(warehouse: Warehouse) -> list[TableFreshness]:
    """Return the freshness of every event table, in the current transaction."""
    return [_read(warehouse, table) for table in measure_event_tables(warehouse)]


def _read(warehouse: Warehouse, table: EventTable) -> TableFreshness:
    place = warehouse.qualified(table.name)
    is_estimate = table.heap_bytes > MAX_COUNTED_BYTES
    if is_estimate and table.is_distributed:
        rows = table.estimated_rows
    elif is_estimate:  # the planner multiplies the rows per page of the last analyze by the current number of pages
        (((plan,),),) = warehouse.fetch(f"explain (format json) select from {place}")
        rows = plan["Plan"]["Plan Rows"]
    else:
        ((rows,),) = warehouse.fetch(f"select count(*) from {place}")
    ((newest_event, newest_load),) = warehouse.fetch(
        operation("newest_event").format(table=place, is_recent=_is_recent(warehouse, table))
    )
    return TableFreshness(table.name, rows, is_estimate, newest_event, newest_load, table.is_distributed)


def _is_recent(warehouse: Warehouse, table: EventTable) -> str:
    """Return the condition for rows that were loaded last: by place, else by the chunks of the last loads."""
    if table.is_distributed:
        ((since,),) = warehouse.fetch(_RECENT_CHUNK, LAST_CHUNKS)
        return f"uuid_ts >= '{since.isoformat()}'::timestamptz" if since else "false"
    # A partitioned table has no pages of its own: start after the last possible page.
    last_pages = f"({max(table.pages - LAST_PAGES, 0)},0)" if table.pages else "(4294967295,0)"
    return f"ctid >= '{last_pages}'::tid"


def read_days(warehouse: Warehouse, table: TableFreshness) -> list[bool]:
    """Return for each day whether it had events: the PERIOD_DAYS days before the newest event, and the day of it."""
    if table.is_distributed:
        counts = _read_counts(warehouse, table, newest=table.newest_event, days=PERIOD_DAYS, step=1, is_complete=False)
        return [count > 0 for _, count in counts]
    query = _query(warehouse, table, "days_with_events")
    return [found for (found,) in warehouse.fetch(query, newest=table.newest_event, days=PERIOD_DAYS)]


def read_counts(
    warehouse: Warehouse, table: TableFreshness, newest: datetime, weeks: int
) -> Sequence[tuple[date, int]]:
    """Return the number of events of a day and of the same weekday in the weeks before it, the oldest first.

    The day is that of the newest event, or yesterday if the newest event is of today.
    """
    if table.is_distributed:
        return _read_counts(warehouse, table, newest=newest, days=7 * weeks, step=7, is_complete=True)
    return warehouse.fetch(_query(warehouse, table, "events_by_weekday"), newest=newest, weeks=weeks)


def _read_counts(warehouse: Warehouse, table: TableFreshness, **period: object) -> Sequence[tuple[date, int]]:
    return warehouse.fetch(_query(warehouse, table, "distributed_events_by_day"), **period)


def _query(warehouse: Warehouse, table: TableFreshness, name: str) -> str:
    schema = quote_identifier(warehouse.schema)
    return operation(name).format(table=f"{schema}.{quote_identifier(table.table)}", settings=f"{schema}.settings")
