"""Pulse: how fresh and how large the tables of events are, asked of indexes and estimates instead of every row."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime

from loader.names import quoted
from loader.tables import IS_OF_EVENTS
from loader.warehouse import Warehouse

#: Tables larger than this, in bytes, are not counted row by row.
COUNTED = 64 << 20
#: Pages at a table's end that are looked at: PostgreSQL adds up to 64 at a time, empty at first.
LAST_PAGES = 256
#: How long the rhythm of a table is looked at, in days.
PERIOD = 56
#: How long a reader waits for a table that is being changed.
PATIENCE = "10s"

#: What others commit meanwhile is not seen, so that sums over several tables agree.
_SNAPSHOT = """
    set transaction isolation level repeatable read, read only;
    set local enable_hashjoin to on;
    set local enable_mergejoin to on;
    set local jit to off
"""
_TABLES = f"""
    select relname, pg_relation_size(oid), current_setting('block_size')::bigint
    from pg_class
    where relnamespace = to_regnamespace(%s) and {IS_OF_EVENTS}
    order by relname
"""
#: Of the newest events by the key, and of the rows at the table's end, which is where new ones go.
_NEWEST = """
    with newest as (
        (
            select timestamp, uuid_ts from {table}
            where original_timestamp <= now() order by original_timestamp desc limit 1000
        )
        union all
        select timestamp, uuid_ts from {table} where ctid >= %s::tid
    )
    select max(timestamp) filter (where timestamp <= now()), max(uuid_ts) from newest
"""
_DAYS = """
    select exists (
        select from {table}
        where original_timestamp >= day at time zone zone
            and original_timestamp < (day + interval '1 day') at time zone zone
    )
    from (select value as zone from {settings} where name = 'reporting_time_zone') as setting
    cross join lateral generate_series(
        date_trunc('day', %s::timestamptz at time zone zone) - make_interval(days => %s),
        date_trunc('day', %s::timestamptz at time zone zone),
        interval '1 day'
    ) as day
    order by day
"""
_COUNTS = """
    select day::date, (
        select count(*) from {table}
        where original_timestamp >= day at time zone zone
            and original_timestamp < (day + interval '1 day') at time zone zone
    )
    from (select value as zone from {settings} where name = 'reporting_time_zone') as setting
    cross join lateral (
        select least(
            date_trunc('day', now() at time zone zone) - interval '1 day',
            date_trunc('day', %s::timestamptz at time zone zone)
        ) as judged
    ) as last
    cross join lateral generate_series(judged - make_interval(weeks => %s), judged, interval '7 days') as day
    order by day
"""


@dataclass(frozen=True, slots=True)
class Pulse:
    """A table of events: its rows, its newest event that is not of the future, when its newest rows were loaded."""

    table: str
    rows: int
    is_estimate: bool
    newest_event: datetime | None
    newest_load: datetime | None


@contextmanager
def snapshot(warehouse: Warehouse) -> Iterator[None]:
    """Run the body in one transaction that reads only, and sees everything as of one moment."""
    with warehouse.transaction(lock_timeout=PATIENCE):
        warehouse.run(_SNAPSHOT)
        yield


def read_pulses(warehouse: Warehouse) -> list[Pulse]:
    """Return the pulse of every table of events, in the transaction at hand."""
    return [_read(warehouse, *found) for found in warehouse.fetch(_TABLES, quoted(warehouse.schema))]


def _read(warehouse: Warehouse, table: str, size: int, block: int) -> Pulse:
    place = f"{quoted(warehouse.schema)}.{quoted(table)}"
    is_estimate = size > COUNTED
    if is_estimate:  # the planner's: rows to a page when it was analyzed, times the pages of now
        (((plan,),),) = warehouse.fetch(f"explain (format json) select from {place}")
        rows = plan["Plan"]["Plan Rows"]
    else:
        ((rows,),) = warehouse.fetch(f"select count(*) from {place}")
    # A partitioned table has no pages of its own.
    last_pages = f"({max(size // block - LAST_PAGES, 0)},0)" if size else "(4294967295,0)"
    ((newest_event, newest_load),) = warehouse.fetch(_NEWEST.format(table=place), last_pages)
    return Pulse(table, rows, is_estimate, newest_event, newest_load)


def read_days(warehouse: Warehouse, pulse: Pulse) -> list[bool]:
    """Return of each of the PERIOD days before the newest event's, and of that, whether it had events."""
    newest = pulse.newest_event
    return [found for (found,) in warehouse.fetch(_on(warehouse, pulse, _DAYS), newest, PERIOD, newest)]


def read_counts(warehouse: Warehouse, pulse: Pulse, newest: datetime, weeks: int) -> Sequence[tuple[date, int]]:
    """Return the events of a day and of the same weekday in the weeks before it, the oldest first.

    The day is that of the newest event, but one that is over.
    """
    return warehouse.fetch(_on(warehouse, pulse, _COUNTS), newest, weeks)


def _on(warehouse: Warehouse, pulse: Pulse, query: str) -> str:
    schema = quoted(warehouse.schema)
    return query.format(table=f"{schema}.{quoted(pulse.table)}", settings=f"{schema}.settings")
