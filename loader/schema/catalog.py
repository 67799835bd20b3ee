"""Catalog: which tables and columns of events there are; more are added when first needed, as Segment does."""

import logging
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
from loader.postgres import advisory_locks
from loader.postgres.connection import Warehouse
from loader.quoting import quote_identifier, quote_literal
from loader.schema.event_tables import TRACKS, event_table
from loader.schema.introspection import Columns, read_columns

log = logging.getLogger(__name__)

#: Columns of a table, tables of a source: what a sender may make by inventing names, unless told otherwise.
MAX_COLUMNS, MAX_TABLES = 500, 200
#: Share of a cap from which on a load warns of it.
WARNING_SHARE = 0.8

_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]
_RECORD = """
    insert into identifiers (kind, parent, original, identifier)
    select * from unnest(%s::text[], %s::text[], %s::text[], %s::text[])
    on conflict do nothing
"""


@dataclass(frozen=True, slots=True)
class Name:
    """What a source calls an event or a property, and the table (`parent` empty) or column it became."""

    parent: str
    original: str
    identifier: str


@dataclass(frozen=True, slots=True)
class SchemaLimits:
    """How many columns a table may have, and how many tables of events a source."""

    columns: int = MAX_COLUMNS
    tables: int = MAX_TABLES


class Catalog:
    """The tables of events as they are; a dry one only says what it would add."""

    def __init__(self, warehouse: Warehouse, limits: SchemaLimits, *, dry: bool = False) -> None:
        self._warehouse = warehouse
        self._limits = limits
        self._warned: set[str] = set()
        self._dry = dry
        self._refused: set[tuple[str, str]] = set()
        self._names: set[Name] = set()
        self._tables: dict[str, str] = {}
        self._columns: dict[str, dict[str, str]] = {}
        #: DDL that was run, or would be.
        self.statements: list[str] = []
        self._read()

    def has(self, table: str) -> bool:
        """Tell whether there is a table of this name."""
        return table in self._columns

    def columns(self, table: str) -> Mapping[str, str]:
        """Return the columns of a table with their types."""
        return self._columns[table]

    def ensure_table(self, event: str) -> str | None:
        """Return the table of an event, made if need be; None if its name makes no table's name.

        Raises LoaderError where it cannot be made.
        """
        name = self._tables.get(event) or table_identifier(event)
        if name is None:
            return None
        if name not in self._columns:
            self._check_room()
            self._create(name)
        self._tables[event] = name
        self.record([Name("", event, name)])
        return name

    def columns_within_limit(self, table: str, columns: Sequence[str]) -> Sequence[str]:
        """Return those columns for which the table has room; the others are refused for the rest of the run."""
        cap, there = self._limits.columns, len(self._columns[table])
        free = max(cap - there, 0)
        self._refused.update((table, column) for column in columns[free:])
        self._warn(f"columns of {table!r}", "--max-columns", there + len(columns), cap)
        return columns[:free]

    def add_columns(self, table: str, kinds: Mapping[str, str]) -> None:
        """Add columns; if that is not possible now they are refused for the rest of the run."""
        try:
            self._run([s for column, kind in kinds.items() for s in self._add(table, column, kind)])
        except OutageError:
            raise
        except LoaderError as exc:
            log.warning("columns of %r wait for a later load: %s", table, exc)
            self._refused.update((table, column) for column in kinds)
        else:
            if self._dry:
                self._columns[table].update(kinds)

    def is_refused(self, table: str, column: str) -> bool:
        """Tell whether a column could not be added in this run."""
        return (table, column) in self._refused

    def can_have_column(self, column: str) -> bool:
        """Tell whether a collection may have a column: one of the context comes to `tracks` first."""
        return not is_context(column) or column in self._columns[TRACKS]

    def record(self, names: Iterable[Name]) -> None:
        """Put names on the map of names."""
        new = [name for name in names if name not in self._names]
        if new and not self._dry:
            kinds = ["column" if name.parent else "table" for name in new]
            rows = [[n.parent for n in new], [n.original for n in new], [n.identifier for n in new]]

            def write() -> None:
                with self._warehouse.transaction():
                    self._warehouse.fetch(_RECORD, kinds, *rows)

            self._warehouse.retry(write)
        self._names.update(new)

    def _read(self) -> None:
        columns, named = self._warehouse.retry(self._fetch)
        self._columns = {table: dict(kinds) for table, kinds in columns.items()}
        self._names = {Name(*name) for name in named}
        self._tables = {name.original: name.identifier for name in self._names if not name.parent}

    def _fetch(self) -> tuple[Columns, list[Any]]:
        with self._warehouse.transaction():
            names = self._warehouse.fetch("select parent, original, identifier from identifiers")
            return read_columns(self._warehouse), names

    def _check_room(self) -> None:
        cap, there = self._limits.tables, self._count_collections()
        self._warn("tables of events", "--max-tables", there + 1, cap)
        if there >= cap:
            raise LoaderError(f"there are {there} tables of events already; raise --max-tables, then `rejects replay`")

    def _count_collections(self) -> int:
        return sum("event_text" in columns for table, columns in self._columns.items() if table != TRACKS)

    def _warn(self, what: str, option: str, wanted: int, cap: int) -> None:
        """Tell once that a cap is near, and once that it is reached."""
        states = {"nearly as many as": wanted >= WARNING_SHARE * cap, "more wanted than": wanted > cap}
        reached = [f"{what}: {state} the {cap} that {option} allows" for state, holds in states.items() if holds]
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
        self._run([_sql(element) for element in elements])
        if self._dry:
            self._columns[name] = {column.name: str(column.type.compile(_DIALECT)).lower() for column in table.columns}

    def _add(self, table: str, column: str, kind: str) -> list[str]:
        place = f"{quote_identifier(self._warehouse.schema)}.{quote_identifier(table)}"
        comment = quote_literal("Made when its first value arrived")
        return [
            f"alter table {place} add column if not exists {quote_identifier(column)} {kind}",
            f"comment on column {place}.{quote_identifier(column)} is {comment}",
        ]

    def _run(self, statements: list[str]) -> None:
        """Run DDL in a short transaction of its own, one loader at a time."""
        if statements and not self._dry:
            self._warehouse.retry(partial(self._change, statements))
            crash_point("columns.added")
            self._read()
        self.statements += statements

    def _change(self, statements: list[str]) -> None:
        with self._warehouse.transaction(lock_timeout=advisory_locks.TABLE_TIMEOUT):
            self._warehouse.lock_in_transaction(advisory_locks.SCHEMA)
            for statement in statements:
                log.info("%s", statement)
                self._warehouse.fetch(statement)


def _sql(element: DDLElement) -> str:
    return str(element.compile(dialect=_DIALECT)).strip()
