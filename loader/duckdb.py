"""Run an in-memory DuckDB session, and build its SQL expressions for casts and JSON paths."""

from collections.abc import Iterator
from typing import Any

import duckdb
import pyarrow as pa

from loader.events.fields import Path, pointer
from loader.events.values import BIGINT, BOOLEAN, DOUBLE, ISO_8601, TIMESTAMPTZ, is_text
from loader.quoting import quote_literal


class MalformedError(Exception):
    """At least one line is not valid JSON."""


#: Memory of a session, without the Arrow tables that it reads and returns. A query that needs more fails.
MEMORY_LIMIT = "400MB"
#: A progress bar would be written to standard output.
_SETTINGS = "set timezone = 'UTC'; set autoload_known_extensions = false; set enable_progress_bar = false"


class Session:
    """An in-memory database on one thread, which leaves the other cores to PostgreSQL."""

    def __init__(self) -> None:
        self._connection = duckdb.connect(config={"threads": 1, "memory_limit": MEMORY_LIMIT, "temp_directory": ""})
        self._connection.execute(_SETTINGS)

    def register(self, name: str, table: pa.Table) -> None:
        """Make an Arrow table readable as `name`."""
        self._connection.register(name, table)

    def execute(self, statement: str) -> None:
        """Run a statement.

        Raises MalformedError for invalid JSON.
        """
        try:
            self._connection.execute(statement)
        except duckdb.InvalidInputException as exc:
            raise MalformedError(str(exc)) from exc

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query as tuples."""
        return self._connection.execute(query).fetchall()

    def stream(self, query: str) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a query as tuples. No other query may run until the last one has been read."""
        result = self._connection.execute(query)
        while rows := result.fetchmany(1000):
            yield from rows

    def exists(self, condition: str) -> bool:
        """Return whether a condition holds for any row of `envelope`."""
        ((found,),) = self.rows(f"select exists (select 1 from envelope where {condition})")
        return bool(found)

    def arrow(self, query: str) -> pa.Table:
        """Return the rows of a query as an Arrow table."""
        return self._connection.sql(query).to_arrow_table()


#: The range of times that both Python and PostgreSQL can represent.
EARLIEST, LATEST = "0001-01-01 00:00:00+00", "9999-12-31 23:59:59.999999+00"
#: From this magnitude on, not every whole number has an exact double (IEEE 754).
MAX_EXACT_INTEGER = 2**53


def timestamp_sql(value: str) -> str:
    """Return SQL that casts text to a time stamp, null unless it is a full ISO 8601 date and time.

    The first branch handles the most common format at half the cost. Its comparison excludes the year 0, and leading
    blanks, which DuckDB would skip.
    """
    return f"""
        case
            when {value} like '____-__-__T__:__:__.___Z' and {value} >= '0001'
                then make_timestamptz(epoch_us(try_strptime({value}, '%Y-%m-%dT%H:%M:%S.%gZ')))
            when regexp_matches({value}, '{ISO_8601}')
                and try_cast({value} as timestamptz) between timestamptz '{EARLIEST}' and timestamptz '{LATEST}'
                then try_cast({value} as timestamptz)
        end
    """


def cast_sql(value: str, kind: str) -> str:
    """Return SQL that casts text to a column type, null if the value does not fit without loss."""
    if is_text(kind):
        return value
    if kind == TIMESTAMPTZ:
        return timestamp_sql(value)
    if kind == BOOLEAN:
        return f"case {value} when 'true' then true when 'false' then false end"
    if kind == BIGINT:
        return rf"case when regexp_full_match({value}, '-?(0|[1-9]\d*)(\.0+)?') then try_cast({value} as bigint) end"
    if kind == DOUBLE:
        number = f"try_cast({value} as double)"
        whole = rf"regexp_full_match({value}, '-?\d+')"
        return (
            rf"case when regexp_full_match({value}, '-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?') and isfinite({number}) "
            f"and (not {whole} or abs({number}) < {MAX_EXACT_INTEGER}) then {number} end"
        )
    return "null"


def objects_only(path: Path) -> str:
    """Return a SQL condition that a path leads through objects only, empty if it always does.

    In a JSON pointer, a key of digits is an index where it meets an array (RFC 6901).

    >>> objects_only(("properties", "list", "0"))
    "json_type(line, '/properties/list') = 'OBJECT'"
    """
    doubtful = [path[:i] for i, key in enumerate(path) if key.isdigit()]
    return " and ".join(f"json_type(line, {quote_literal(pointer(above))}) = 'OBJECT'" for above in doubtful)
