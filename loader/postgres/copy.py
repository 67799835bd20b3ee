"""Encode Arrow tables for binary COPY, and Arrow arrays as PostgreSQL array literals."""

from collections.abc import Iterator

import pgpq
import pyarrow as pa
import pyarrow.compute as pc


def encode(table: pa.Table) -> list[bytes]:
    """Return the rows of a table as the pieces of one binary COPY."""
    encoder = pgpq.ArrowToPostgresBinaryEncoder(table.schema)
    return list(_pieces(encoder, table))


def _pieces(encoder: pgpq.ArrowToPostgresBinaryEncoder, table: pa.Table) -> Iterator[bytes]:
    yield encoder.write_header()
    for batch in table.to_batches():
        yield encoder.write_batch(batch)
    yield encoder.finish()


def array_literal(texts: pa.Array | pa.ChunkedArray) -> str:
    r"""Return texts as a PostgreSQL array literal.

    >>> print(array_literal(pa.array(['a', 'b"\\', '', None])))
    {"a","b\"\\","",NULL}
    """
    escaped = pc.replace_substring(pc.replace_substring(texts, "\\", r"\\"), '"', r"\"")
    quoted = pc.fill_null(pc.binary_join_element_wise('"', escaped, '"', ""), "NULL")
    return "{" + ",".join(quoted.to_pylist()) + "}"
