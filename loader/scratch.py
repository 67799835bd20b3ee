"""Scratch: DuckDB in memory, where a chunk's JSON becomes columns."""

from typing import Any

import duckdb
import pyarrow as pa


class MalformedError(Exception):
    """Some line is not JSON."""


class Scratch:
    """A database on one thread, so that the other cores are left to PostgreSQL."""

    def __init__(self) -> None:
        self._connection = duckdb.connect(config={"threads": 1})
        self._connection.execute("set timezone = 'UTC'; set autoload_known_extensions = false")

    def register(self, name: str, table: pa.Table) -> None:
        """Let statements read an Arrow table."""
        self._connection.register(name, table)

    def execute(self, statement: str) -> None:
        """Run a statement.

        Raises MalformedError for JSON that is none.
        """
        try:
            self._connection.execute(statement)
        except duckdb.InvalidInputException as exc:
            raise MalformedError(str(exc)) from exc

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        return self._connection.execute(query).fetchall()

    def exists(self, condition: str) -> bool:
        """Tell whether the envelope has an event for which a condition holds."""
        ((found,),) = self.rows(f"select exists (select 1 from envelope where {condition})")
        return bool(found)

    def arrow(self, query: str) -> pa.Table:
        """Return the rows of a query as columns."""
        return self._connection.sql(query).to_arrow_table()
