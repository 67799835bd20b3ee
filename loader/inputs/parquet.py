"""Read Parquet files and Arrow tables in chunks. Each row is an event; positions are numbers of rows."""

from collections.abc import Iterator
from typing import IO

import numpy as np
import pyarrow as pa

from loader.errors import InputError
from loader.events.times import UTC
from loader.inputs.chunk import Chunk
from loader.inputs.tabular import RowsToJson


def read_parquet(stream: IO[bytes], uri: str, position: int, size: int, zone: str = UTC) -> Iterator[Chunk]:
    """Yield the rows of a Parquet file from a position on, in chunks of about `size` bytes.

    `zone` is that of times without one. Raises InputError if the stream is not seekable, as a pipe, or required columns
    are missing.
    """
    from pyarrow import parquet

    if not stream.seekable():
        raise InputError(
            f"{uri!r} is a Parquet file in a stream without random access; decompress it and load it by name"
        )
    file = parquet.ParquetFile(stream, pre_buffer=False, buffer_size=1 << 20)
    rows_to_json, done = RowsToJson(file.schema_arrow.names, uri, zone), 0
    for group in range(file.num_row_groups):
        about = file.metadata.row_group(group)
        rows = max(1, about.num_rows * size // max(about.total_byte_size * 2, 1))
        if done + about.num_rows <= position:
            done += about.num_rows
            continue
        for batch in file.iter_batches(min(rows, 20_000), row_groups=[group], use_threads=False):
            yield from _chunks(pa.table(batch), rows_to_json, done, position)
            done += len(batch)


def read_table(table: pa.Table, uri: str, position: int, zone: str = UTC) -> Iterator[Chunk]:
    """Yield the rows of a table in memory from a position on; `zone` is that of times without one.

    Raises InputError if required columns are missing.
    """
    rows_to_json, done = RowsToJson(table.column_names, uri, zone), 0
    for start in range(0, len(table), 10_000):
        yield from _chunks(table.slice(start, 10_000), rows_to_json, done, position)
        done = start + 10_000


def _chunks(table: pa.Table, rows_to_json: RowsToJson, first: int, position: int) -> Iterator[Chunk]:
    rows = table.slice(max(position - first, 0))
    first, end = max(first, position), first + len(table)
    if len(rows):
        numbers = np.arange(first + 1, end + 1)
        yield Chunk(rows_to_json.texts(rows.columns), first + 1, end + 1, end, lines=numbers, positions=numbers - 1)
