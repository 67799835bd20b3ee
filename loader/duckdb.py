"""Scratch: DuckDB in memory, where a chunk's JSON becomes columns."""

from typing import Any

import duckdb
import pyarrow as pa

from loader.events.fields import Path, pointer
from loader.events.values import BIGINT, BOOLEAN, DOUBLE, ISO_8601, TIMESTAMPTZ, is_text
from loader.quoting import quote_literal


class MalformedError(Exception):
    """Some line is not JSON."""


class Session:
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


#: The times that Python and PostgreSQL both have.
EARLIEST, LATEST = "0001-01-01 00:00:00+00", "9999-12-31 23:59:59.999999+00"
#: From here on not every whole number is a double.
MAX_EXACT_INTEGER = 2**53


def timestamp_sql(value: str) -> str:
    """Return SQL for a time stamp, null unless the value is a full ISO 8601 date and time.

    The spelling that nearly all senders have is read at half the cost. The comparison keeps out the year 0, and
    blanks, which DuckDB skips.
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
    """Return SQL for a value in a column of a type, null if it does not fit without loss."""
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
    """Return SQL that holds where a path leads through objects only, empty if it always does.

    A pointer's digits lead into arrays too.

    >>> guard(("properties", "list", "0"))
    "json_type(line, '/properties/list') = 'OBJECT'"
    """
    doubtful = [path[:i] for i, key in enumerate(path) if key.isdigit()]
    return " and ".join(f"json_type(line, {quote_literal(pointer(above))}) = 'OBJECT'" for above in doubtful)
