"""Bring the figures stored behind the views up to date with new events and with the site's data."""

import hashlib
import logging
from collections.abc import Callable, Sequence
from contextlib import closing

from loader.config import Settings, data_root
from loader.crash_points import crash_point
from loader.postgres import advisory_locks
from loader.postgres.connection import Warehouse, engine, run_script
from loader.postgres.sqlstate import translate_errors
from loader.quoting import quote_identifier
from loader.schema.source import open_warehouse
from loader.views.definitions import apply_views, read_views
from loader.views.settings import read_settings

log = logging.getLogger(__name__)

#: Reports in a sentence what takes long.
Report = Callable[[str], None]

#: Set-based work on much data. Connections are set up for key look-ups otherwise.
_CONDITIONS = """
    set local search_path to {ops}, {schema}, pg_catalog;
    set local enable_hashjoin to on;
    set local enable_mergejoin to on;
    set local work_mem to '256MB';
    set local jit to off;
"""
_STORED = """
    select relname from pg_class
    where relnamespace = to_regnamespace(%s) and relkind = 'r' and starts_with(relname, 'stored_')
"""
#: Whether events were loaded since the last refresh.
_STALE = """
    select exists (
        select from files join loads using (load_id)
        where files.events_loaded > 0
            and coalesce(loads.finished_at, now()) > coalesce((select loaded_until from refreshed), '-infinity')
    )
"""


def is_stale(settings: Settings) -> bool:
    """Return whether events were loaded since the last refresh."""
    with closing(Warehouse(settings)) as warehouse, warehouse.transaction():
        ((stale,),) = warehouse.fetch(_STALE)
    return bool(stale)


def refresh(settings: Settings, *, rebuild: bool = False, report: Report = log.info) -> int:
    """Add the events loaded since the last refresh to the figures, and return their number.

    All figures are built again with `rebuild`, and if settings, SQL or the tables of the site's data have changed.
    Readers see the old figures until all new ones are complete. Raises SchemaError if the schema is not prepared,
    WarehouseError if the database fails.
    """
    scripts = [path.read_text("utf-8") for path in sorted((data_root() / "sql" / "refresh").glob("*.sql"))]
    with open_warehouse(settings, "refresh") as warehouse:
        with warehouse.transaction(lock_timeout="1h", statement_timeout="6h"):
            warehouse.lock_in_transaction(advisory_locks.REFRESH)
            definition = _define(settings, warehouse, scripts)
            warehouse.run(
                _CONDITIONS.format(ops=quote_identifier(settings.ops), schema=quote_identifier(settings.schema))
            )
            stored = [name for (name,) in warehouse.fetch(_STORED, quote_identifier(settings.ops))]
            known = warehouse.fetch("select definition from refreshed")
            if rebuild or known != [(definition,)]:
                if known and (events := _count(warehouse)):
                    report(f"the figures behind the views are built again from {events:,} events")
                _clear(warehouse, [*stored, "refreshed"])
            crash_point("views.refreshing")
            for script in scripts:
                warehouse.run(script)
            ((events,),) = warehouse.fetch("select count(*) from new_events")
            warehouse.fetch("delete from refreshed")
            warehouse.fetch("insert into refreshed (loaded_until, definition) values (now(), %s)", definition)
        for table in stored:
            warehouse.run(f"analyze {quote_identifier(settings.ops)}.{quote_identifier(table)}")
    crash_point("views.refreshed")
    return int(events)


def _count(warehouse: Warehouse) -> int:
    """Return the number of events that all loads have stored."""
    ((events,),) = warehouse.fetch("select coalesce(sum(events_loaded), 0)::bigint from loads")
    return int(events)


def _clear(warehouse: Warehouse, tables: Sequence[str]) -> None:
    """Empty the stored tables, so that the steps build all figures from the events."""
    for table in tables:
        warehouse.run(f"delete from {quote_identifier(table)}; analyze {quote_identifier(table)}")


def _define(settings: Settings, warehouse: Warehouse, scripts: Sequence[str]) -> str:
    """Return a hash of what the stored figures depend on beside the data, and apply the views if it has changed.

    The views are applied on a connection of its own, before the warehouse's transaction has locked any of them.
    """
    with translate_errors(), engine(settings.database_url).begin() as connection:
        views = read_views(settings, connection)
        definition = hashlib.sha256(
            repr([scripts, views, read_settings(connection.exec_driver_sql, settings.schema)]).encode()
        ).hexdigest()
        if warehouse.fetch(f"select definition from {quote_identifier(settings.ops)}.refreshed") != [(definition,)]:
            run_script(connection, "set local lock_timeout = '10s'")
            apply_views(connection, views)
    return definition
