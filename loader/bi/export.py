"""Write the rows of a view to a CSV, Parquet or Excel file, in pieces: memory does not grow with the rows."""

import io
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.csv as arrow_csv
from pyarrow import parquet

from loader.bi.workbook import MAX_ROWS, write_workbook
from loader.errors import UsageError
from loader.postgres.connection import Warehouse
from loader.quoting import quote_identifier
from loader.reports.dictionary import Column, Relation, read_dictionary

#: Arrow's types of PostgreSQL's. All others become texts, `numeric` and `interval` floating-point numbers.
TYPES = {
    "smallint": pa.int16(),
    "integer": pa.int32(),
    "bigint": pa.int64(),
    "real": pa.float32(),
    "double precision": pa.float64(),
    "numeric": pa.float64(),
    "interval": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamp with time zone": pa.timestamp("us", "UTC"),
    "timestamp without time zone": pa.timestamp("us"),
}
#: With one of these at its begin, a spreadsheet takes a text of a CSV file for a formula (OWASP, "CSV Injection").
FORMULA_STARTS = r"^[-=+@\t\r]"
#: Bytes that are parsed at a time; a row must not be longer.
BLOCK_BYTES = 16 << 20


def export_relation(warehouse: Warehouse, name: str, out: str, *, is_exact: bool = False) -> int:
    """Write a view or table to the file `out`, in the format of its suffix; return the number of rows.

    `-` is standard output, as CSV. In CSV a text that a spreadsheet would take for a formula gets an apostrophe, unless
    `is_exact`. The file has its name only once it is complete. Raises UsageError for an unknown view or format, and for
    more rows than a sheet of Excel can have.
    """
    write = find_format(out)
    with warehouse.snapshot():
        warehouse.run("set local timezone to 'UTC'")
        source = Source(warehouse, find_relation(warehouse, name), is_exact=is_exact)
        if out == "-":
            with os.fdopen(os.dup(1), "wb") as stream:
                return write(source, stream)
        with complete_file(Path(out)) as stream:
            return write(source, stream)


def find_relation(warehouse: Warehouse, name: str) -> Relation:
    """Return a view or table of the source's schema; raises UsageError if it does not exist."""
    relations = {relation.name: relation for relation in read_dictionary(warehouse)}
    if name not in relations:
        views = ", ".join(relation.name for relation in relations.values() if relation.kind == "view")
        raise UsageError(f"there is no view or table {name!r} in schema {warehouse.schema!r}; views are {views}")
    return relations[name]


class Source:
    """The rows of a view or table, as CSV or as Arrow's batches."""

    def __init__(self, warehouse: Warehouse, relation: Relation, *, is_exact: bool) -> None:
        self.columns: Sequence[Column] = relation.columns
        self._warehouse, self._is_exact = warehouse, is_exact
        self._place = warehouse.qualified(relation.name)

    @property
    def arrow_schema(self) -> pa.Schema:
        """The columns with Arrow's types."""
        return pa.schema([(column.name, TYPES.get(_base(column), pa.string())) for column in self.columns])

    def count(self, limit: int) -> int:
        """Return the number of rows, or `limit` if there are more."""
        query = f"select count(*) from (select from {self._place} limit %s) as found"
        return int(self._warehouse.fetch(query, limit)[0][0])

    def csv(self) -> Iterator[bytes]:
        """Yield the lines of a CSV file with a heading."""
        return self._copy(self._as_written if self._is_exact else self._without_formula)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield batches of rows in Arrow's types."""
        return iter(
            arrow_csv.open_csv(
                io.BufferedReader(_Stream(self._copy(self._as_number)), BLOCK_BYTES),
                arrow_csv.ReadOptions(block_size=BLOCK_BYTES),
                arrow_csv.ParseOptions(newlines_in_values=True),
                arrow_csv.ConvertOptions(
                    column_types=self.arrow_schema,
                    true_values=["t"],
                    false_values=["f"],
                    null_values=[""],
                    strings_can_be_null=True,
                    quoted_strings_can_be_null=False,
                ),
            )
        )

    def _copy(self, expression: Callable[[Column], str]) -> Iterator[bytes]:
        selected = ", ".join(f"{expression(column)} as {quote_identifier(column.name)}" for column in self.columns)
        return self._warehouse.copy_out(f"copy (select {selected} from {self._place}) to stdout (format csv, header)")

    @staticmethod
    def _as_written(column: Column) -> str:
        return quote_identifier(column.name)

    @staticmethod
    def _without_formula(column: Column) -> str:
        name = quote_identifier(column.name)
        if _base(column) in TYPES:
            return name
        return f"regexp_replace({name}::text, E'{FORMULA_STARTS}', E'''\\\\&')"

    @staticmethod
    def _as_number(column: Column) -> str:
        name = quote_identifier(column.name)
        return f"extract(epoch from {name})" if _base(column) == "interval" else name


def _base(column: Column) -> str:
    """Return the type of a column without its modifier, such as the 10 of `numeric(10,2)`."""
    return column.type.partition("(")[0]


class _Stream(io.RawIOBase):
    """Bytes that are read from pieces."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if not self._rest:
            self._rest = next(self._pieces, b"")
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def _write_csv(source: Source, stream: BinaryIO) -> int:
    rows = -1  # the heading is no row
    for line in source.csv():
        stream.write(line)
        rows += 1
    return rows


def _write_parquet(source: Source, stream: BinaryIO) -> int:
    rows = 0
    with parquet.ParquetWriter(stream, source.arrow_schema, compression="zstd") as writer:
        for batch in source.batches():
            writer.write_batch(batch)
            rows += batch.num_rows
    return rows


def _write_workbook(source: Source, stream: BinaryIO) -> int:
    if source.count(MAX_ROWS + 1) > MAX_ROWS:
        raise UsageError(f"a sheet of Excel has at most {MAX_ROWS:,} rows below its heading; write .csv or .parquet")
    return write_workbook(source.batches(), source.columns, stream)


FORMATS: dict[str, Callable[[Source, BinaryIO], int]] = {
    ".csv": _write_csv,
    ".parquet": _write_parquet,
    ".xlsx": _write_workbook,
}


def find_format(out: str) -> Callable[[Source, BinaryIO], int]:
    """Return the function that writes the format of a file name; raises UsageError for an unknown one."""
    suffix = ".csv" if out == "-" else Path(out).suffix.lower()
    if suffix not in FORMATS:
        raise UsageError(f"{out!r} has no known format; write a name that ends with {', '.join(FORMATS)}")
    return FORMATS[suffix]


@contextmanager
def complete_file(path: Path) -> Iterator[BinaryIO]:
    """Yield a file that replaces `path` after the body, and is removed if the body fails."""
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as stream:
            yield stream
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
