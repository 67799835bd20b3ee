"""Upkeep: statistics of tables that a load has made larger, so that the planner knows what is new the same night."""

import logging
from collections.abc import Mapping

from loader import locks
from loader.errors import LoaderError
from loader.names import quoted
from loader.warehouse import Warehouse

log = logging.getLogger(__name__)

#: Share of a table that may be new before it is analyzed.
NEW = 0.03

#: Rows that the server counts as changed since it last looked, as an earlier load that was killed left them, and
#: those of this load, which it may not have heard of.
_DUE = """
    select pg_class.relname from pg_class left join pg_stat_user_tables as stat on stat.relid = pg_class.oid
    join unnest(%s::text[], %s::bigint[]) as touched (name, rows) on touched.name = pg_class.relname
    where relnamespace = to_regnamespace(%s) and relkind in ('r', 'p')
        and greatest(coalesce(n_mod_since_analyze, 0), touched.rows) > %s * greatest(reltuples, 0)
    order by pg_class.relname
"""


def analyze(warehouse: Warehouse, rows: Mapping[str, int]) -> list[str]:
    """Analyze the tables of which more than a few per cent are new, given the new rows of each, and return them.

    A table that others change, or of another role, is left alone; autovacuum comes to it.
    """
    names, counts = list(rows), list(rows.values())
    with warehouse.transaction():
        due = [name for (name,) in warehouse.fetch(_DUE, names, counts, quoted(warehouse.schema), NEW)]
    return [name for name in due if _analyze(warehouse, name)]


def _analyze(warehouse: Warehouse, name: str) -> bool:
    try:
        with warehouse.transaction(lock_timeout=locks.TABLE_TIMEOUT):
            warehouse.fetch(f"analyze {quoted(warehouse.schema)}.{quoted(name)}")
    except LoaderError as exc:
        log.info("%s is not analyzed: %s", name, exc)
        return False
    log.info("%s is analyzed", name)
    return True
