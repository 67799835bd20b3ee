"""Read which event tables and columns exist, and add missing ones when first needed, as Segment does."""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import MetaData
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable, DDLElement, SetColumnComment, SetTableComment

from loader.crash_points import crash_point
from loader.errors import LoaderError, OutageError
from loader.events.identifiers import is_context, table_identifier
from loader.events.values import TEXT
from loader.postgres import advisory_locks
from loader.postgres.connection import Warehouse
from loader.quoting import quote_identifier, quote_literal
from loader.schema.distribution import distribution_statements
from loader.schema.event_tables import TEXT_PROPERTIES, TRACKS, event_table
from loader.schema.introspection import Columns, read_columns
from loader.schema.limits import SchemaLimits

log = logging.getLogger(__name__)

#: Names that are recorded for a table or a column, and for all, as a sender can invent any number of spellings.
MAX_SPELLINGS, MAX_NAMES = 20, 200_000
#: Bytes of a name that is recorded: longer ones do not fit into the index (PostgreSQL, "B-Tree Indexes").
MAX_NAME_BYTES = 2000
#: Share of a limit from which a load warns of it.
WARNING_SHARE = 0.8

_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]
_RECORD = """
    insert into identifiers (kind, parent, original, identifier)
    select * from unnest(%s::text[], %s::text[], %s::text[], %s::text[])
    on conflict do nothing
"""


@dataclass(frozen=True, slots=True)
class Name:
    """The name of an event or a property, as sent, and the table (empty `parent`) or column that stores it."""

    parent: str
    original: str
    identifier: str


class Catalog:
    """The existing event tables. If `dry`, statements are recorded but not run."""

    def __init__(self, warehouse: Warehouse, limits: SchemaLimits, *, dry: bool = False) -> None:
        self._warehouse = warehouse
        self._limits = limits
        self._warned: set[str] = set()
        self._dry = dry
        self._refused: set[tuple[str, str]] = set()
        #: Tables to which no more columns are added in this run.
        self._full: set[str] = set()
        self._names: set[Name] = set()
        self._spellings = Counter[tuple[str, str]]()
        self._tables: dict[str, str] = {}
        self._columns: dict[str, dict[str, str]] = {}
        #: DDL that was run, or would be if `dry` were not set.
        self.statements: list[str] = []
        self._read()

    def has(self, table: str) -> bool:
        """Return whether a table exists."""
        return table in self._columns

    def columns(self, table: str) -> Mapping[str, str]:
        """Return the columns of a table: name to type."""
        return self._columns[table]

    def ensure_table(self, event: str) -> str | None:
        """Return the table of an event, created if it is missing; None if no table name can be derived.

        Raises LoaderError if it cannot be created.
        """
        name = self._tables.get(event) or table_identifier(event)
        if name is None:
            return None
        if name not in self._columns:
            self._check_room()
            self._create(name)
        self.record([Name("", event, name)])
        return name

    def free_columns(self, table: str) -> int:
        """Return how many columns a table can still get."""
        return max(self._limits.columns - len(self._columns[table]), 0)

    def columns_within_limit(self, table: str, columns: Sequence[str]) -> Sequence[str]:
        """Return the columns that fit within the table's limit; otherwise refuse all others in this run."""
        free, existing = self.free_columns(table), len(self._columns[table])
        if len(columns) > free:
            self._full.add(table)
        self._warn(f"columns of {table!r}", "--max-columns", existing + len(columns), self._limits.columns)
        return columns[:free]

    def add_columns(self, table: str, kinds: Mapping[str, str]) -> None:
        """Add columns, by name and type; if that fails, refuse them for the rest of the run.

        Raises OutageError.
        """
        try:
            self._run(table, [s for column, kind in kinds.items() for s in self._add(table, column, kind)])
        except OutageError:
            raise
        except LoaderError as exc:
            log.warning("columns of %r cannot be added, a later load tries again: %s", table, exc)
            self._refused.update((table, column) for column in kinds)
        else:
            if self._dry:
                self._columns[table].update(kinds)

    def is_refused(self, table: str, column: str) -> bool:
        """Return whether a column was refused in this run."""
        return table in self._full or (table, column) in self._refused

    def can_have_column(self, column: str) -> bool:
        """Return whether a collection can have a column: those of the context must be in `tracks` first."""
        return not is_context(column) or column in self._columns[TRACKS]

    def fixed_type(self, column: str) -> str | None:
        """Return the type that a column has in all tables; None if its first value decides.

        Documented properties are text, and a column of the context has its type in `tracks`.
        """
        return TEXT if column in TEXT_PROPERTIES else self._columns[TRACKS].get(column)

    def record(self, names: Iterable[Name]) -> None:
        """Add names to the table `identifiers`, a limited number of them for each table or column."""
        new = [name for name in names if self._remember(name)]
        if new and not self._dry:
            kinds = ["column" if name.parent else "table" for name in new]
            rows = [[n.parent for n in new], [n.original for n in new], [n.identifier for n in new]]

            def write() -> None:
                with self._warehouse.transaction():
                    self._warehouse.fetch(_RECORD, kinds, *rows)

            self._warehouse.retry(write)

    def _remember(self, name: Name) -> bool:
        """Return whether a name is new and within the limits, and remember it."""
        place = name.parent, name.identifier
        if name in self._names or self._spellings[place] >= MAX_SPELLINGS or len(self._names) >= MAX_NAMES:
            return False
        if len(name.original.encode()) > MAX_NAME_BYTES:
            return False
        self._names.add(name)
        self._spellings[place] += 1
        if not name.parent:
            self._tables[name.original] = name.identifier
        return True

    def _read(self) -> None:
        columns, named = self._warehouse.retry(self._fetch)
        self._columns = {table: dict(kinds) for table, kinds in columns.items()}
        for name in named:
            self._remember(Name(*name))

    def _fetch(self) -> tuple[Columns, list[Any]]:
        with self._warehouse.transaction():
            names = self._warehouse.fetch("select parent, original, identifier from identifiers limit %s", MAX_NAMES)
            return read_columns(self._warehouse), names

    def _fetch_columns(self, table: str) -> dict[str, str]:
        with self._warehouse.transaction():
            return dict(read_columns(self._warehouse, [table])[table])

    def _check_room(self) -> None:
        limit, existing = self._limits.tables, self._count_collections()
        self._warn("event tables", "--max-tables", existing + 1, limit)
        if existing >= limit:
            raise LoaderError(
                f"there are already {existing} event tables; raise --max-tables, "
                "then run `selligent-loader rejects replay`"
            )

    def _count_collections(self) -> int:
        return sum("event_text" in columns for table, columns in self._columns.items() if table != TRACKS)

    def _warn(self, what: str, option: str, wanted: int, limit: int) -> None:
        """Log one warning when a limit is near, and one when it is exceeded."""
        states = {"close to": wanted >= WARNING_SHARE * limit, "more needed than": wanted > limit}
        reached = [f"{what}: {state} the {limit} that {option} allows" for state, holds in states.items() if holds]
        if not self._warned.issuperset(reached):
            log.warning("%s", reached[-1])
        self._warned.update(reached)

    def _create(self, name: str) -> None:
        table = event_table(MetaData(), self._warehouse.schema, name)
        elements: list[DDLElement] = [CreateTable(table, if_not_exists=True), SetTableComment(table)]
        elements += [
            CreateIndex(index, if_not_exists=True) for index in sorted(table.indexes, key=lambda i: str(i.name))
        ]
        elements += [SetColumnComment(column) for column in table.columns]
        distribution = self._warehouse.retry(partial(self._fetch_distribution, name))
        self._run(name, [*map(_sql, elements), *distribution])
        if self._dry:
            self._columns[name] = {column.name: str(column.type.compile(_DIALECT)).lower() for column in table.columns}

    def _fetch_distribution(self, name: str) -> Sequence[str]:
        with self._warehouse.transaction():
            return distribution_statements(self._warehouse, name)

    def _add(self, table: str, column: str, kind: str) -> list[str]:
        place = self._warehouse.qualified(table)
        comment = quote_literal("Made when its first value arrived")
        return [
            f"alter table {place} add column if not exists {quote_identifier(column)} {kind}",
            f"comment on column {place}.{quote_identifier(column)} is {comment}",
        ]

    def _run(self, table: str, statements: list[str]) -> None:
        """Run DDL in its own short transaction, under a lock that serializes loaders; record it in `statements`."""
        if statements and not self._dry:
            self._warehouse.retry(partial(self._change, statements))
            crash_point("columns.added")
            self._columns[table] = self._warehouse.retry(partial(self._fetch_columns, table))
        self.statements += statements

    def _change(self, statements: list[str]) -> None:
        with self._warehouse.transaction(lock_timeout=advisory_locks.TABLE_TIMEOUT):
            self._warehouse.lock_in_transaction(advisory_locks.SCHEMA)
            for statement in statements:
                log.info("%s", statement)
                self._warehouse.fetch(statement)


def _sql(element: DDLElement) -> str:
    return str(element.compile(dialect=_DIALECT)).strip()
