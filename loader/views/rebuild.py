"""Compute the figures in new tables beside the old ones, which readers see until the new ones take their place."""

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import groupby

from loader.config import Settings
from loader.crash_points import crash_point
from loader.errors import LoaderError
from loader.postgres.connection import Warehouse, operation
from loader.quoting import quote_identifier
from loader.schema.distribution import is_distributed, wait_for_workers
from loader.views.definitions import View
from loader.views.sessions import run_statements
from loader.views.statements import Statement, split
from loader.views.steps import (
    LOCK_TIMEOUT,
    NEW_CHUNKS,
    STATEMENT_TIMEOUT,
    Step,
    conditions,
    log_step,
    name_step,
    run_step,
)

log = logging.getLogger(__name__)

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
#: What a rebuild in several sessions works with: new tables, and unlogged ones instead of the temporary ones.
_WORKING_TABLES = """
    select relname from pg_class
    where
        relnamespace = to_regnamespace(%s)
        and relkind = 'r'
        and (starts_with(relname, 'fresh_') or (relpersistence = 'u' and relname = any(%s)))
"""
_KNOWN_CHUNKS = "create temporary table known_chunks on commit drop as select uuid_ts from chunks"
_READ_SITE_WHOLE = f"update {STORED}sources set read_from = '-infinity'"

_INSERTED = re.compile(rf"insert into ({FRESH}\w+)")
_CHANGED = re.compile(rf"(?:insert into|update) ({FRESH}\w+)")
#: Of so many, the figures are computed in several sessions at once, whose tables take longer to create.
MANY_EVENTS = 100_000
#: For a statement that is committed on its own. Nobody waits for this commit: that of the last transaction, which is
#: waited for, makes all of them durable. The sessions leave no processor to further workers.
_ALONE = f"""
    set local lock_timeout to '{LOCK_TIMEOUT}';
    set local statement_timeout to '{STATEMENT_TIMEOUT}';
    set local synchronous_commit to off;
    set local max_parallel_workers_per_gather to 0;
"""


@dataclass(slots=True)
class FreshTables:
    """New, empty stored tables. Their indexes are made when they have been filled, in a third of the time.

    If they are shared by sessions, so is what the steps make: unlogged tables instead of temporary ones.
    """

    settings: Settings
    is_shared: bool
    #: The statements that index the tables which are not indexed yet.
    indexes: dict[str, list[str]]

    @classmethod
    def create(
        cls, warehouse: Warehouse, settings: Settings, steps: Sequence[Step], *, is_shared: bool
    ) -> "FreshTables":
        """Create the tables in the transaction at hand, and let all chunks and all rows of the site be read."""
        made = cls(settings, is_shared, {})
        keyed = set().union(*(step.keyed_tables for step in steps))
        for (table,) in warehouse.fetch(_TABLES, quote_identifier(settings.ops)):
            like = f"like {table} including defaults including identity including comments"
            options = "with (autovacuum_enabled = off)" if is_shared else ""
            warehouse.run(f"create table {fresh(table)} ({like}) {options}")
            keys, indexes = _statements(warehouse, _KEYS, table), _statements(warehouse, _INDEXES, table)
            for statement in (*_statements(warehouse, _COMMENT, table), *(keys if table in keyed else [])):
                warehouse.run(statement)
            made.indexes[table] = [*([] if table in keyed else keys), *indexes]
        warehouse.run(_READ_SITE_WHOLE)
        warehouse.run(made.adapt(_KNOWN_CHUNKS))
        if is_distributed(warehouse):
            wait_for_workers(warehouse)
        warehouse.run(made.adapt(operation("count_chunks")))
        return made

    def adapt(self, script: str) -> str:
        """Return SQL on the stored tables as SQL on the new ones."""
        return share(fresh(script)) if self.is_shared else fresh(script)

    def statements(self, steps: Sequence[Step]) -> list[Statement]:
        """Return the statements of steps on the new tables, in their order, and those that analyze and index these."""
        return [
            statement for stage in _stages(steps) for statement in (*_analyzed(stage), *self._index_statements(stage))
        ]

    def _index_statements(self, stage: Sequence[Step]) -> list[Statement]:
        """Return the statements that index those tables of a stage that are not indexed yet."""
        return [
            _on_table(step.name, script, fresh(table))
            for step in stage
            for table in sorted(step.tables)
            for script in self.indexes.pop(table, [])
        ]

    def run_stage(self, warehouse: Warehouse, stage: Sequence[Step]) -> None:
        """Run steps on the new tables, analyze those that each has changed, and index them in the end."""
        for step in stage:
            run_step(warehouse, step, self.adapt(step.script))
            for table in sorted(set(_CHANGED.findall(fresh(step.script)))):
                warehouse.run(f"analyze {table}")
        for statement in self._index_statements(stage):
            warehouse.run(statement.script)

    def replace(self, warehouse: Warehouse, views: list[View]) -> None:
        """Let the new tables take the place of the old ones, also in the views."""
        for table, statements in self.indexes.items():
            for statement in (*statements, f"analyze {fresh(table)}"):
                warehouse.run(statement)
        ops = quote_identifier(self.settings.ops)
        old = [table for (table,) in warehouse.fetch(_TABLES, ops)]
        # Readers lock a view, the views in it, then tables; in another order we would wait for each other. Making a
        # view again locks it alone, where `lock table` would lock the tables of events with it.
        views = [view for view in views if not view.is_function]
        for view in reversed(views):
            warehouse.run(view.script)
        for table in old:
            warehouse.run(f"alter table {ops}.{table} rename to {table.replace(STORED, 'outdated_', 1)}")
            warehouse.run(f"alter table {ops}.{fresh(table)} rename to {table}")
            if self.is_shared:
                warehouse.run(f"alter table {ops}.{table} reset (autovacuum_enabled)")
        for view in views:
            warehouse.run(view.script)
        for table in old:
            warehouse.run(f"drop table {ops}.{table.replace(STORED, 'outdated_', 1)}")
        for (name,) in warehouse.fetch(_NAMES, ops):
            kept = quote_identifier(name.replace(FRESH, STORED, 1))
            warehouse.run(f"alter table {ops}.{quote_identifier(name)} rename to {kept}")


def _stages(steps: Sequence[Step]) -> Iterator[list[Step]]:
    return (list(stage) for _, stage in groupby(steps, lambda step: step.stage))


def _analyzed(stage: Sequence[Step]) -> Iterator[Statement]:
    """Yield the statements of a stage on the new tables, and the analysis of each that it fills.

    A table is analyzed after the last statement that adds rows, and again after the last one that changes some: what is
    known of a column that an update fills would be that it is empty.
    """
    statements = [statement for step in stage for statement in split(step.name, fresh(step.script))]
    filled = {table: n for n, statement in enumerate(statements) for table in _INSERTED.findall(statement.script)}
    changed = {table: n for n, statement in enumerate(statements) for table in _CHANGED.findall(statement.script)}
    for n, statement in enumerate(statements):
        yield statement
        for table, last in filled.items():
            if n in {last, changed[table]}:
                yield _on_table(statement.step, f"analyze {table}", table)


def _on_table(step: str, script: str, table: str) -> Statement:
    return Statement(step, script, frozenset({table}), frozenset({table}))


def drop_working_tables(warehouse: Warehouse, steps: Sequence[Step]) -> None:
    """Drop what a rebuild in several sessions works with, in the transaction at hand."""
    for table in _working_tables(warehouse, steps):
        warehouse.run(f"drop table {quote_identifier(table)} cascade")
    for view in _temporary("view", steps):
        warehouse.run(f"drop view if exists {view}")


def drop_remains(settings: Settings, warehouse: Warehouse, steps: Sequence[Step]) -> None:
    """Drop what a rebuild has left that was killed or has failed, in a transaction of its own."""
    if tables := _working_tables(warehouse, steps):
        with closing(Warehouse(settings, "refresh")) as session, session.transaction(LOCK_TIMEOUT):
            drop_working_tables(session, steps)
        log.info("%d tables of a rebuild that did not end were dropped", len(tables))


def _working_tables(warehouse: Warehouse, steps: Sequence[Step]) -> list[str]:
    names = _temporary("table", steps)
    return [table for (table,) in warehouse.fetch(_WORKING_TABLES, quote_identifier(warehouse.ops), names)]


def _temporary(kind: str, steps: Sequence[Step]) -> list[str]:
    """Return the names of the temporary tables or views of a refresh."""
    scripts = [step.script for step in steps] + [_KNOWN_CHUNKS, operation("count_chunks"), operation("this_refresh")]
    return re.findall(rf"create temporary {kind} (\w+)", "".join(scripts))


def _statements(warehouse: Warehouse, query: str, table: str) -> list[str]:
    return [fresh(statement) for (statement,) in warehouse.fetch(query, table=table)]


def fresh(script: str) -> str:
    """Return SQL on the stored tables as SQL on the new ones.

    >>> fresh("insert into stored_events select * from judged_events as stored")
    'insert into fresh_events select * from judged_events as stored'
    """
    return script.replace(STORED, FRESH)


def share(script: str) -> str:
    """Return SQL that makes temporary tables and views as SQL that makes them for other sessions, too.

    >>> share("create temporary table places on commit drop as select * from stored_events")
    'create unlogged table places with (autovacuum_enabled = off) as select * from stored_events'
    """
    return (
        script.replace("create temporary table", "create unlogged table")
        .replace("on commit drop", "with (autovacuum_enabled = off)")
        .replace("create temporary view", "create view")
    )


def rebuild_figures(
    settings: Settings, warehouse: Warehouse, steps: Sequence[Step], begin: str, events: int
) -> FreshTables:
    """Compute all figures in new tables, in the transaction at hand, or from many events beside it."""
    *most, last = (step for step in steps if step.name != NEW_CHUNKS)
    if events >= MANY_EVENTS:
        tables = _compute_in_sessions(settings, warehouse, most, begin)
    else:
        tables = FreshTables.create(warehouse, settings, most, is_shared=False)
        warehouse.run(tables.adapt(begin))
        crash_point("views.refreshing")
        for stage in _stages(most):
            tables.run_stage(warehouse, stage)
    warehouse.run(operation("take_chunks"))
    run_step(warehouse, last, last.script)
    return tables


def _compute_in_sessions(settings: Settings, warehouse: Warehouse, steps: Sequence[Step], begin: str) -> FreshTables:
    """Compute all figures in new tables, in sessions that commit each statement.

    The transaction at hand, which does nothing meanwhile, has the lock and names the step for `status`.
    """

    def prepare(session: Warehouse) -> FreshTables:
        with session.transaction(LOCK_TIMEOUT, STATEMENT_TIMEOUT):
            session.run(conditions(settings))
            tables = FreshTables.create(session, settings, steps, is_shared=True)
            session.run(tables.adapt(begin))
        return tables

    def run(session: Warehouse, statement: Statement) -> int:
        return session.run(f"{begun} {tables.adapt(statement.script)}; commit")

    begun = f"begin; {conditions(settings)} {_ALONE}"
    warehouse.run("set local idle_in_transaction_session_timeout to 0")
    try:
        with closing(Warehouse(settings, "refresh")) as session:
            tables = prepare(session)
        crash_point("views.refreshing")
        run_statements(settings, tables.statements(steps), run, lambda name: name_step(warehouse, name), log_step)
    except BaseException:
        with suppress(LoaderError):
            drop_remains(settings, warehouse, steps)
        raise
    return tables
