"""Parquet files: types, nested columns, and columns of JSON text."""

import io
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from loader.config import Settings
from tests.support.loading import load_bytes, select

TYPED = pa.table(
    {
        "messageId": ["a", "b"],
        "userId": pa.array([7.0, None]),
        "anonymousId": [None, "x@y.example"],
        "event": pa.array(["Order Completed", "Order Completed"]).dictionary_encode(),
        "originalTimestamp": pa.array([datetime(2025, 1, 1, 0, 0, 0, 1), None], pa.timestamp("ns")),
        "receivedAt": pa.array([datetime(2025, 1, 1, tzinfo=UTC)] * 2, pa.timestamp("us", "UTC")),
        "context": [{"ip": "10.0.0.1", "traits": {"email": "e@x.example"}}, None],
        "properties": ['{"total": 12.50, "code": "007"}', None],
        "properties.items": pa.array([3, None], pa.int32()),
        "properties.share": [float("nan"), 0.5],
        "properties.gift": [True, None],
        "properties.price": pa.array([Decimal("1.25"), None]),
        "properties.tags": [["a", "b"], None],
    }
)


def test_parquet_keeps_its_types(settings: Settings, tmp_path: Path) -> None:
    sink = io.BytesIO()
    parquet.write_table(TYPED, sink)
    result = load_bytes(settings, sink.getvalue(), tmp_path, "orders.parquet")
    assert (result.status, result.counts["values_discarded"]) == ("ok", 0)
    first, second = select(settings, "select * from order_completed order by id")
    assert (first["user_id"], second["user_id"], second["anonymous_id"]) == ("7", None, "x@y.example")
    assert first["original_timestamp"] == datetime(2025, 1, 1, 0, 0, 0, 1, tzinfo=UTC)
    assert (first["context_ip"], first["context_traits_email"]) == ("10.0.0.1", "e@x.example")
    assert (first["total"], first["code"], first["items"], first["gift"]) == (12.5, "007", 3, True)
    assert (first["price"], first["tags"], first["share"], second["share"]) == (1.25, '["a","b"]', None, 0.5)
