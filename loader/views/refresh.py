"""Bring what is stored behind the views up to date with new events and with the site's data."""

import hashlib
import re
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

from loader.config import Settings, data_root
from loader.crash_points import crash_point
from loader.postgres import advisory_locks
from loader.postgres.connection import Warehouse, engine, operation, run_script
from loader.postgres.sqlstate import translate_errors
from loader.quoting import quote_identifier
from loader.schema.event_tables import TRACKS
from loader.schema.source import open_warehouse
from loader.views.definitions import View, apply_views, read_views
from loader.views.rebuild import FreshTables, fresh
from loader.views.settings import read_settings

#: Set-based work on much data, other than the key lookups that connections are made for.
_CONDITIONS = """
    set local temp_buffers to '64MB';
    set local search_path to {ops}, {schema}, pg_catalog;
    set local enable_hashjoin to on;
    set local enable_mergejoin to on;
    set local work_mem to '256MB';
    set local jit to off;
"""
#: What the steps need to know of the refresh itself. The first time much is done in another way.
_BEGIN = """
    create temporary table this_refresh on commit drop as
    select
        exists (select from stored_events) as had_events,
        exists (select from stored_site_days) as had_site_rows,
        {is_full} as is_full
"""
_STALE = "select exists (select from chunks where not is_taken) or not exists (select from refreshed)"
#: Whether there are events, and none of them is stored.
_EMPTY = "select exists (select from chunks where not is_taken) and not exists (select from stored_events)"


@dataclass(frozen=True, slots=True)
class Step:
    """A script of the refresh: a file in `sql/refresh`, in whose order they run."""

    name: str
    script: str

    @property
    def tables(self) -> set[str]:
        """The stored tables that it inserts into."""
        return set(re.findall(r"insert into (stored_\w+)", self.script))

    @property
    def keyed_tables(self) -> set[str]:
        """Those of them whose keys it looks at while inserting."""
        return set(re.findall(r"insert into (stored_\w+)[^;]*\bon conflict\b", self.script))


def read_steps() -> list[Step]:
    """Return the steps of a refresh in their order."""
    paths = sorted((data_root() / "sql" / "refresh").glob("*.sql"))
    return [Step(path.stem, path.read_text("utf-8")) for path in paths]


def is_stale(settings: Settings) -> bool:
    """Tell whether events were loaded since the last refresh, or figures have to be computed again."""
    with closing(Warehouse(settings)) as warehouse, warehouse.transaction():
        ((stale,),) = warehouse.fetch(_STALE)
    return bool(stale)


def refresh(settings: Settings, *, rebuild: bool = False, full: bool = False) -> int:
    """Take in the events loaded since the last refresh, and return their number.

    Of the site's tables only rows are read that were recorded later than the setting `site_look_back` before the latest
    one of the table: by its column `uuid_ts`, else `received_at`, else `timestamp`. Missed is what was recorded earlier
    and came later, and what was changed or deleted among older rows. A full refresh compares all rows of the site, and
    the number of events by chunk with the ledger, for events that others deleted or added.

    Everything is computed again if that is asked for, if the full comparison finds other events than were loaded, and
    where settings, SQL or the columns of the site's tables changed. Readers see the old figures until all new ones are
    there. Raises SchemaError if the schema is not prepared, WarehouseError if the database fails.
    """
    steps = read_steps()
    with (
        open_warehouse(settings, "refresh") as warehouse,
        warehouse.transaction(lock_timeout="1h", statement_timeout="6h"),
    ):
        warehouse.lock_in_transaction(advisory_locks.REFRESH)
        views, definition = _define(settings, warehouse, steps)
        conditions = _CONDITIONS.format(ops=quote_identifier(settings.ops), schema=quote_identifier(settings.schema))
        warehouse.run(conditions)
        is_outdated = warehouse.fetch("select definition from refreshed") != [(definition,)]
        tables = None
        if rebuild or is_outdated or _has_only_new(warehouse) or (full and _have_events_changed(settings, warehouse)):
            tables = FreshTables.create(warehouse, settings, set().union(*(step.keyed_tables for step in steps)))
        begin = _BEGIN.format(is_full=full)
        warehouse.run(fresh(begin) if tables else begin)
        crash_point("views.refreshing")
        for step in steps:
            run_step(warehouse, step, tables)
        ((events,),) = warehouse.fetch("select count(*) from new_events")
        if tables:
            tables.replace(views)
            warehouse.run(conditions)
        warehouse.fetch("delete from refreshed")
        warehouse.fetch("insert into refreshed (loaded_until, definition) values (now(), %s)", definition)
    crash_point("views.refreshed")
    return int(events)


def run_step(warehouse: Warehouse, step: Step, tables: FreshTables | None = None) -> None:
    """Run a step in the refresh's transaction, on the stored tables or on those that will replace them."""
    if tables is None:
        warehouse.run(step.script)
        return
    warehouse.run(fresh(step.script))
    tables.index(step.tables)


def _has_only_new(warehouse: Warehouse) -> bool:
    ((only_new,),) = warehouse.fetch(_EMPTY)
    return bool(only_new)


def _have_events_changed(settings: Settings, warehouse: Warehouse) -> bool:
    tracks = f"{quote_identifier(settings.schema)}.{TRACKS}"
    ((changed,),) = warehouse.fetch(operation("have_chunks_changed").format(tracks=tracks))
    return bool(changed)


def _define(settings: Settings, warehouse: Warehouse, steps: Sequence[Step]) -> tuple[list[View], str]:
    """Return the views, and a hash of all that the stored figures depend on beside the data.

    Views that changed are made again, on a connection of its own, before the warehouse's transaction has looked at any
    of them.
    """
    with translate_errors(), engine(settings.database_url).begin() as connection:
        views = read_views(settings, connection)
        scripts = [step.script for step in steps]
        definition = hashlib.sha256(
            repr([scripts, views, read_settings(connection.exec_driver_sql, settings.schema)]).encode()
        ).hexdigest()
        if warehouse.fetch(f"select definition from {quote_identifier(settings.ops)}.refreshed") != [(definition,)]:
            run_script(connection, "set local lock_timeout = '10s'")
            apply_views(connection, views)
    return views, definition
