"""Compute the figures in new tables beside the old ones, which readers see until the new ones take their place."""

from collections.abc import Iterable, Set
from dataclasses import dataclass

from loader.config import Settings
from loader.postgres.connection import Warehouse, operation
from loader.quoting import quote_identifier
from loader.schema.distribution import is_distributed, wait_for_workers
from loader.schema.event_tables import TRACKS
from loader.views.definitions import View

#: Prefixes of the tables behind the views, and of those that will replace them.
STORED, FRESH = "stored_", "fresh_"

_TABLES = """
    select relname from pg_class
    where relnamespace = to_regnamespace(%s) and relkind = 'r' and starts_with(relname, 'stored_')
    order by relname
"""
#: Statements that make the primary key, if any, the unique indexes, and the others of a table. They do not name the
#: schema, because its name may contain the prefix that is replaced.
_KEYS = """
    select format('alter table %%s add constraint %%I %%s', conrelid::regclass, conname, pg_get_constraintdef(oid))
    from pg_constraint
    where conrelid = to_regclass(%(table)s) and contype = 'p'
    union all
    select replace(pg_get_indexdef(indexrelid), format(' ON %%I.', current_schema), ' ON ')
    from pg_index
    where indrelid = to_regclass(%(table)s) and not indisprimary and indisunique
"""
_INDEXES = """
    select replace(pg_get_indexdef(indexrelid), format(' ON %%I.', current_schema), ' ON ') from pg_index
    where indrelid = to_regclass(%(table)s) and not indisunique
"""
_COMMENT = """
    select format('comment on table %%s is %%L', c, obj_description(c, 'pg_class')) from to_regclass(%(table)s) as c
"""
_NAMES = """
    select relname from pg_class
    where relnamespace = to_regnamespace(%s) and relkind = any('{r,i,S}') and starts_with(relname, 'fresh_')
    order by relkind <> 'r'
"""


@dataclass(slots=True)
class FreshTables:
    """New, empty stored tables. Their indexes are made when they have been filled, in a third of the time."""

    warehouse: Warehouse
    settings: Settings
    #: The tables, by whether their keys are there, which are not indexed yet.
    tables: dict[str, bool]

    @classmethod
    def create(cls, warehouse: Warehouse, settings: Settings, keyed: Set[str]) -> "FreshTables":
        """Create the tables in the transaction at hand, and let all chunks and all rows of the site be read."""
        made = cls(warehouse, settings, {})
        for (table,) in warehouse.fetch(_TABLES, quote_identifier(settings.ops)):
            like = f"like {table} including defaults including identity including comments"
            warehouse.run(f"create table {fresh(table)} ({like})")
            made._run_all(_COMMENT, table)
            made.tables[table] = table in keyed
            if table in keyed:
                made._run_all(_KEYS, table)
        warehouse.run(f"update {STORED}sources set read_from = '-infinity'")
        warehouse.run("create temporary table known_chunks on commit drop as select uuid_ts from chunks")
        if is_distributed(warehouse):
            wait_for_workers(warehouse)
        tracks = f"{quote_identifier(settings.schema)}.{TRACKS}"
        warehouse.run(operation("read_chunks").format(tracks=tracks))
        return made

    def index(self, tables: Iterable[str]) -> None:
        """Index and analyze tables that have been filled, each once."""
        for table in self.tables.keys() & set(tables):
            if not self.tables.pop(table):
                self._run_all(_KEYS, table)
            self._run_all(_INDEXES, table)
            self.warehouse.run(f"analyze {fresh(table)}")

    def _run_all(self, query: str, table: str) -> None:
        for (statement,) in self.warehouse.fetch(query, table=table):
            self.warehouse.run(fresh(statement))

    def replace(self, views: list[View]) -> None:
        """Let the new tables take the place of the old ones, also in the views."""
        self.index(list(self.tables))
        ops = quote_identifier(self.settings.ops)
        old = [table for (table,) in self.warehouse.fetch(_TABLES, ops)]
        # Readers lock a view, the views in it, then tables; in another order we would wait for each other. Making a
        # view again locks it alone, where `lock table` would lock the tables of events with it.
        views = [view for view in views if not view.is_function]
        for view in reversed(views):
            self.warehouse.run(view.script)
        for table in old:
            self.warehouse.run(f"alter table {ops}.{table} rename to {table.replace(STORED, 'outdated_', 1)}")
            self.warehouse.run(f"alter table {ops}.{fresh(table)} rename to {table}")
        for view in views:
            self.warehouse.run(view.script)
        for table in old:
            self.warehouse.run(f"drop table {ops}.{table.replace(STORED, 'outdated_', 1)}")
        for (name,) in self.warehouse.fetch(_NAMES, ops):
            kept = quote_identifier(name.replace(FRESH, STORED, 1))
            self.warehouse.run(f"alter table {ops}.{quote_identifier(name)} rename to {kept}")


def fresh(script: str) -> str:
    """Return SQL on the stored tables as SQL on the new ones.

    >>> fresh("insert into stored_events select * from judged_events as stored")
    'insert into fresh_events select * from judged_events as stored'
    """
    return script.replace(STORED, FRESH)
