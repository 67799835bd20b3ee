"""Refresh: what is stored behind the views, brought up to date with the events and with the site's data."""

import hashlib
from collections.abc import Sequence
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

#: Set-based work on much data, other than the key lookups that connections are made for.
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
#: Whether events were loaded since.
_STALE = """
    select exists (
        select from files join loads using (load_id)
        where files.events_loaded > 0
            and coalesce(loads.finished_at, now()) > coalesce((select loaded_until from refreshed), '-infinity')
    )
"""


def is_stale(settings: Settings) -> bool:
    """Tell whether events were loaded since the last refresh."""
    with closing(Warehouse(settings)) as warehouse, warehouse.transaction():
        ((stale,),) = warehouse.fetch(_STALE)
    return bool(stale)


def refresh(settings: Settings, *, rebuild: bool = False) -> int:
    """Take in the events loaded since the last refresh, and return their number.

    Everything is made anew if that is asked for, and where settings, SQL or the tables of the site's data changed.
    Readers see the old figures until all new ones are there. Raises SchemaError if the schema is not prepared,
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
            if rebuild or warehouse.fetch("select definition from refreshed") != [(definition,)]:
                for table in (*stored, "refreshed"):
                    warehouse.run(f"delete from {quote_identifier(table)}; analyze {quote_identifier(table)}")
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


def _define(settings: Settings, warehouse: Warehouse, scripts: Sequence[str]) -> str:
    """Return a hash of all that the stored figures depend on beside the data; views that changed are made anew.

    That is on a connection of its own, before the warehouse's transaction has looked at any of them.
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
