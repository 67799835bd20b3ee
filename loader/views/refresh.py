"""Bring the figures stored behind the views up to date with new events and with the site's data."""

import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass

from loader.config import Settings
from loader.crash_points import crash_point
from loader.errors import ContentionError, LoaderError
from loader.postgres import advisory_locks
from loader.postgres.connection import Warehouse, engine, operation, run_script
from loader.postgres.sqlstate import translate_errors
from loader.quoting import quote_identifier
from loader.schema.distribution import is_distributed, wait_for_workers
from loader.schema.event_tables import TRACKS
from loader.schema.source import open_warehouse
from loader.views.definitions import View, apply_views, read_views
from loader.views.rebuild import FreshTables, drop_remains, drop_working_tables, rebuild_figures
from loader.views.site import SITE_VIEWS
from loader.views.steps import (
    LOCK_TIMEOUT,
    NEW_CHUNKS,
    STATEMENT_TIMEOUT,
    Step,
    conditions,
    log_duration,
    read_steps,
    run_step,
)

log = logging.getLogger(__name__)

#: Reports in a sentence what takes long.
Report = Callable[[str], None]
#: Of two cores, with as many page views. Other machines need half or twice the time.
EVENTS_A_MINUTE = 3_000_000
_KNOWN = "select definition, coalesce(site_definition, '') from {ops}.refreshed"
_DONE = """
    insert into refreshed (loaded_until, definition, site_definition, seconds, settings, reporting_currency)
    select now(), %s, %s, %s, settings, currency from this_refresh cross join reporting
"""
_FAILED = "update refreshed set failed_at = clock_timestamp(), error = %s"
_STALE = """
    select exists (select from chunks where not is_taken) or exists (select from changed_chunks)
        or not exists (select from refreshed)
"""
#: Whether there are events, and none of them is stored.
_EMPTY = "select exists (select from chunks where not is_taken) and not exists (select from stored_events)"


@dataclass(frozen=True, slots=True)
class Definition:
    """Hashes of what the stored figures depend on beside data and settings: SQL, and columns of the site's tables."""

    figures: str
    site: str


def is_stale(settings: Settings) -> bool:
    """Return whether events were loaded or changed since the last refresh, or the figures have to be computed again."""
    with closing(Warehouse(settings)) as warehouse, warehouse.transaction():
        return _ask(warehouse, _STALE)


def refresh(settings: Settings, *, rebuild: bool = False, full: bool = False, report: Report = log.info) -> int:
    """Add the events loaded since the last refresh to the figures, and return their number.

    Of each of the site's tables, only the rows within the setting `site_look_back` of its latest row are read, by the
    column `uuid_ts`, else `received_at`, else `timestamp`. Rows that arrive with an older time, and changed or deleted
    rows that are older, are missed. A `full` refresh compares all of the site's rows, and the number of events by chunk
    with the ledger, which finds events that others have added or deleted.

    A changed setting computes again what it touches: a window or the model the credits, the time zone the days, a rule
    what is judged by it. If the columns of the site's tables have changed, all of their rows are compared. All figures
    are computed again with `rebuild`, if the full comparison finds a difference in events, if the SQL has changed, and
    if `placeholder_ids` has changed by an id that stored events have, or may have had.
    Readers see the old figures until all new ones are complete. Raises SchemaError if the schema is not prepared,
    WarehouseError if the database fails; the failure is recorded for `check` and `status`.
    """
    started = time.monotonic()
    try:
        events = _refresh(settings, rebuild=rebuild, full=full, report=report, started=started)
    except LoaderError as exc:
        with suppress(LoaderError), open_warehouse(settings, "refresh") as warehouse, warehouse.transaction("2s"):
            warehouse.fetch(_FAILED, str(exc))
        raise
    crash_point("views.refreshed")
    log_duration("the figures", time.monotonic() - started, f"{events:,} new events")
    return events


def _refresh(settings: Settings, *, rebuild: bool, full: bool, report: Report, started: float) -> int:
    """Run all steps in one transaction, or if they have much to do, all that readers see of them."""
    steps = read_steps()
    with (
        open_warehouse(settings, "refresh") as warehouse,
        warehouse.transaction(lock_timeout=LOCK_TIMEOUT, statement_timeout=STATEMENT_TIMEOUT),
    ):
        warehouse.lock_in_transaction(advisory_locks.REFRESH)
        drop_remains(settings, warehouse, steps)
        views, definition, known = _define(settings, warehouse, steps)
        warehouse.run(conditions(settings))
        rebuild = rebuild or known is None or known.figures != definition.figures
        begin = operation("this_refresh").format(is_whole=full or known != definition)
        tables = None
        if rebuild or _must_rebuild(settings, warehouse, full=full):
            tables = _rebuild(settings, warehouse, steps, begin, report)
            _add_kept_figures(warehouse, tables)
            tables.replace(warehouse, views)
            warehouse.run(conditions(settings))
        else:
            _summarize_pages(settings)
            warehouse.run(begin)
            crash_point("views.refreshing")
            for step in steps:
                run_step(warehouse, step, step.script)
                if step.name == NEW_CHUNKS and is_distributed(warehouse):
                    wait_for_workers(warehouse)
            _add_kept_figures(warehouse, tables)
        ((events,),) = warehouse.fetch("select coalesce(sum(events), 0) from contents")
        warehouse.fetch("delete from refreshed")
        warehouse.fetch(_DONE, definition.figures, definition.site, time.monotonic() - started)
        if tables and tables.is_shared:
            drop_working_tables(warehouse, steps)
    return int(events)


def _add_kept_figures(warehouse: Warehouse, tables: FreshTables | None) -> None:
    """Add to the figures of campaigns what events have contributed that were deleted for their age."""
    if tables and _ask(warehouse, "select exists (select from retention where is_pending)"):
        warehouse.run(operation("keep_campaigns"))
    if not _ask(warehouse, "select exists (select from retained_campaigns)"):
        return
    adapt = tables.adapt if tables else str
    if tables:
        warehouse.run(adapt(operation("add_kept_campaigns")))
    if tables or _ask(warehouse, "select dates_again from this_refresh"):
        warehouse.run(adapt(operation("add_kept_days")))
    warehouse.run(adapt(operation("bound_kept_campaigns")))


def _rebuild(
    settings: Settings, warehouse: Warehouse, steps: Sequence[Step], begin: str, report: Report
) -> FreshTables:
    """Compute all figures in new tables. Whole tables are read; meanwhile their indexes are brought up to date."""
    if events := _count(warehouse):
        report(_announce(events))
    with ThreadPoolExecutor(1) as pool:
        summary = pool.submit(_summarize_pages, settings)
        tables = rebuild_figures(settings, warehouse, steps, begin, events)
        summary.result()
    return tables


def _summarize_pages(settings: Settings) -> None:
    """Let the BRIN indexes know the pages that loads have added.

    A table that is being vacuumed is not waited for: waiting would end the vacuum, which does the same.
    """
    with (
        closing(Warehouse(settings, "refresh")) as warehouse,
        suppress(ContentionError),
        warehouse.transaction(lock_timeout="50ms"),
    ):
        warehouse.fetch(operation("summarize_pages"), schema=quote_identifier(settings.schema))


def _announce(events: int) -> str:
    """Return what is about to be done, with its duration if it is worth knowing.

    >>> _announce(600)
    'the figures behind the views are built again from 600 events'
    >>> _announce(5_000_000)
    'the figures behind the views are built again from 5,000,000 events, which takes some 2 minutes'
    """
    minutes = round(events / EVENTS_A_MINUTE)
    text = f"the figures behind the views are built again from {events:,} events"
    return f"{text}, which takes some {minutes} minutes" if minutes > 1 else text


def _count(warehouse: Warehouse) -> int:
    """Return the number of events that all loads have stored."""
    ((events,),) = warehouse.fetch("select coalesce(sum(events), 0)::bigint from chunks")
    return int(events)


def _must_rebuild(settings: Settings, warehouse: Warehouse, *, full: bool) -> bool:
    """Return whether the stored figures do not have what is needed to bring them up to date."""
    if _ask(warehouse, _EMPTY) or _ask(warehouse, operation("have_placeholders_changed")):
        return True
    tracks = f"{quote_identifier(settings.schema)}.{TRACKS}"
    return full and _ask(warehouse, operation("have_chunks_changed").format(tracks=tracks))


def _ask(warehouse: Warehouse, question: str) -> bool:
    """Return the answer of a query that has one, true or false."""
    ((answer,),) = warehouse.fetch(question)
    return bool(answer)


def _define(
    settings: Settings, warehouse: Warehouse, steps: Sequence[Step]
) -> tuple[list[View], Definition, Definition | None]:
    """Return the views, what the stored figures depend on, and what they depended on at the last refresh.

    Views that changed are made again, on a connection of its own, before the warehouse's transaction has looked at any
    of them.
    """
    known = [Definition(*row) for row in warehouse.fetch(_KNOWN.format(ops=quote_identifier(settings.ops)))]
    with translate_errors(), engine(settings.database_url).begin() as connection:
        views = read_views(settings, connection)
        definition = Definition(
            _hash([step.script for step in steps], [view for view in views if view.name not in SITE_VIEWS]),
            _hash([view for view in views if view.name in SITE_VIEWS]),
        )
        if known != [definition]:
            run_script(connection, "set local lock_timeout = '10s'")
            apply_views(connection, views)
    return views, definition, next(iter(known), None)


def _hash(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()
