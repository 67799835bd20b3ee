"""Rows: Arrow tables → PostgreSQL's binary COPY format."""

from collections.abc import Iterator

import pgpq
import pyarrow as pa


def encode(table: pa.Table) -> list[bytes]:
    """Return the rows as pieces of one binary COPY."""
    encoder = pgpq.ArrowToPostgresBinaryEncoder(table.schema)
    return list(_pieces(encoder, table))


def _pieces(encoder: pgpq.ArrowToPostgresBinaryEncoder, table: pa.Table) -> Iterator[bytes]:
    yield encoder.write_header()
    for batch in table.to_batches():
        yield encoder.write_batch(batch)
    yield encoder.finish()
