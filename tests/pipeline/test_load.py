"""Loading valid events: the stored rows, which do not depend on how the events arrive."""

import gzip
import json
import random
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pytest

from loader.config import Settings
from loader.errors import InputError, SchemaError
from loader.pipeline.load import analyze
from loader.pipeline.options import Options
from loader.postgres import advisory_locks
from loader.postgres.connection import Warehouse
from loader.sample import ndjson as sample
from tests.conftest import clone
from tests.support.loading import (
    content,
    event,
    load,
    load_bytes,
    load_events,
    load_file,
    ndjson,
    one,
    select,
    tables,
)


def at(second: int) -> datetime:
    return datetime(2025, 1, 1, 0, 0, second, tzinfo=UTC)


def test_an_event_becomes_a_row_of_its_collection_and_of_tracks(settings: Settings, tmp_path: Path) -> None:
    sent = event(
        anonymousId="a@b.example",
        context={"ip": "10.0.0.1", "userAgent": "Mail/1", "traits": {"email": "a@b.example"}},
        properties={"email_id": 7, "campaign_name": "Spring", "isTest": False},
    )
    result = load_events(settings, [sent], tmp_path)
    shared = {
        "id": "m1",
        "anonymous_id": "a@b.example",
        "user_id": "u1",
        "event": "email_opened",
        "event_text": "Email Opened",
        "context_ip": "10.0.0.1",
        "context_user_agent": "Mail/1",
        "context_traits_email": "a@b.example",
        "original_timestamp": at(0),
        "sent_at": at(1),
        "received_at": at(3),
        "timestamp": at(2),
    }
    track = one(settings, "select * from tracks")
    assert track.pop("uuid_ts")
    assert track == shared
    row = one(settings, "select * from email_opened")
    assert row.items() >= shared.items()
    assert (row["email_id"], row["campaign_name"], row["is_test"], row["email_subject"]) == ("7", "Spring", False, None)
    assert (result.status, result.files, dict(+result.tables)) == ("ok", 1, {"email_opened": 1, "tracks": 1})


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, (0, 1, 3, 2)),
        ({"timestamp": None}, (0, 1, 3, 2)),  # 3 - (1 - 0)
        ({"originalTimestamp": None}, (2, 1, 3, 4)),  # 3 - (1 - 2): the offset of the client's clock is removed
        ({"originalTimestamp": None, "sentAt": None}, (2, None, 3, 2)),
        ({"originalTimestamp": None, "timestamp": None}, (None, 1, 3, 3)),
        ({"receivedAt": None}, (0, 1, 1, 2)),
        ({"receivedAt": None, "sentAt": None}, (0, None, 0, 2)),
        ({"originalTimestamp": "yesterday"}, (None, 1, 3, 2)),
        ({"sentAt": 5}, (0, None, 3, 2)),
        ({"receivedAt": "infinity"}, (0, 1, 1, 2)),
    ],
)
def test_times_are_those_of_segment(
    settings: Settings, tmp_path: Path, fields: dict[str, Any], expected: tuple[int | None, ...]
) -> None:
    load_events(settings, [event(**fields)], tmp_path)
    row = one(settings, "select original_timestamp, sent_at, received_at, timestamp from tracks")
    assert tuple(row.values()) == tuple(None if second is None else at(second) for second in expected)


def test_a_time_that_cannot_be_read_is_kept_with_its_reason(settings: Settings, tmp_path: Path) -> None:
    load_events(settings, [event(sentAt=5, timestamp="2025-13-01T00:00:00Z")], tmp_path)
    kept = select(
        settings, "select event_id, table_name, property, value, reason from discarded_values order by property"
    )
    assert [(row["property"], row["value"]) for row in kept] == [
        ("sentAt", "5"),
        ("timestamp", '"2025-13-01T00:00:00Z"'),
    ]
    assert {(row["event_id"], row["table_name"], row["reason"]) for row in kept} == {
        ("m1", "email_opened", "unread_time")
    }


def test_names_and_types_of_new_columns_are_segments(settings: Settings, tmp_path: Path) -> None:
    properties = {
        "orderTotal": 12.5,
        "items": 3,
        "isGift": True,
        "boughtAt": "2025-01-01T12:00:00+02:00",
        "day": "2025-01-01",
        "tags": ["a", 1],
        "product": {"sku": "x", "more": {"HTMLColor": "red", "empty": {}}},
        "nothing": None,
        "blank": "",
        "2nd": 1,
        "order": "reserved",
        "big": 2**70,
    }
    load_events(settings, [event(event="Order Completed", properties=properties)], tmp_path)
    row = one(settings, "select * from order_completed")
    assert {name: row[name] for name in list(row)[13:]} == {
        "_2nd": 1,
        "_order": "reserved",
        "big": str(2**70),
        "blank": "",
        "bought_at": datetime(2025, 1, 1, 10, tzinfo=UTC),
        "day": "2025-01-01",
        "is_gift": True,
        "items": 3,
        "order_total": 12.5,
        "product_more_htmlcolor": "red",
        "product_sku": "x",
        "tags": '["a",1]',
    }
    named = select(settings, "select original from identifiers where parent = 'order_completed' order by original")
    assert "product.more.HTMLColor" in [name["original"] for name in named]
    assert one(settings, "select identifier from identifiers where kind = 'table' and original = 'Order Completed'")


def test_a_table_made_at_run_time_is_like_the_others(settings: Settings, tmp_path: Path) -> None:
    load_events(settings, [event(event="Email Machine Opened")], tmp_path)
    query = """
        select regexp_replace(pg_get_indexdef(indexrelid), %s, '', 'g') as made from pg_index
        where indrelid = %s::regclass order by 1
    """
    made, fixed = (select(settings, query, name, name) for name in ("email_machine_opened", "email_opened"))
    assert made == fixed
    comments = "select count(*) from pg_attribute where attrelid = 'email_machine_opened'::regclass and attnum > 0"
    assert one(settings, comments + " and col_description(attrelid, attnum) is null") == {"count": 0}


def test_both_spellings_of_unsubscribe_go_to_one_table(settings: Settings, tmp_path: Path) -> None:
    load_events(settings, [event(event="Unsubscribed"), event(event="Email Unsubscribed", messageId="m2")], tmp_path)
    found = select(settings, "select event, event_text from email_unsubscribed order by id")
    assert [tuple(row.values()) for row in found] == [
        ("email_unsubscribed", "Unsubscribed"),
        ("email_unsubscribed", "Email Unsubscribed"),
    ]


def test_an_event_without_an_id_gets_one_from_its_content(settings: Settings, tmp_path: Path) -> None:
    events = [event(messageId=None), event(messageId=""), event(messageId=None, userId="u2")]
    load_events(settings, events, tmp_path)
    ids = [row["id"] for row in select(settings, "select id from tracks")]
    assert len(set(ids)) == 3
    assert all(found.startswith("derived-") for found in ids)
    assert load_events(settings, events, tmp_path, "again").counts["events_duplicate"] == 3


def test_a_context_column_has_one_type_in_all_tables(settings: Settings, tmp_path: Path) -> None:
    load_events(settings, [event(context={"score": 1})], tmp_path, "first")
    load_events(settings, [event(event="Other", messageId="m2", context={"score": "high"})], tmp_path, "second")
    types = select(
        settings, "select format_type(atttypid, null) as kind from pg_attribute where attname = 'context_score'"
    )
    assert [row["kind"] for row in types] == ["bigint"] * 3
    assert one(settings, "select table_name, value, reason from discarded_values") == {
        "table_name": "other",
        "value": '"high"',
        "reason": "misfit",
    }


def test_batch_bodies_are_their_events(settings: Settings, tmp_path: Path) -> None:
    body = {
        "batch": [
            event(context={"ip": "10.0.0.1"}, receivedAt=None),
            event(messageId="m2", properties={"campaign_id": 12}),
            "broken",
        ],
        "context": {"ip": "10.0.0.9", "library": {"name": "selligent"}},
        "sentAt": "2025-01-01T00:00:59.000Z",
        "receivedAt": "2025-01-01T00:00:30.000Z",
        "writeKey": "secret",
    }
    result = load_events(settings, [event(messageId="m0"), body, event(messageId="m3")], tmp_path)
    rows = select(settings, "select id, context_ip, context_library_name, received_at from tracks order by id")
    assert [tuple(row.values()) for row in rows] == [
        ("m0", None, None, at(3)),
        ("m1", "10.0.0.1", "selligent", at(30)),
        ("m2", "10.0.0.9", "selligent", at(3)),
        ("m3", None, None, at(3)),
    ]
    assert (result.counts["events_read"], result.counts["events_rejected"]) == (5, 1)
    rejected = one(settings, "select line, raw, reason from rejected_events")
    assert tuple(rejected.values()) == (2, b'"broken"', "not_object")


SAMPLE = b"".join(sample.lines(3000, seed=5))


@pytest.fixture(scope="module")
def expected(server: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The content that a single load of SAMPLE stores."""
    with clone(server, template) as settings:
        load_bytes(settings, SAMPLE, tmp_path_factory.mktemp("expected"))
        found = content(settings)
    assert len(found["tracks"]) == 2985
    return found


def shuffled(data: bytes) -> bytes:
    lines = data.splitlines(keepends=True)
    random.Random(1).shuffle(lines)
    return b"".join(lines)


@pytest.mark.parametrize(
    "pieces",
    [
        [SAMPLE],
        [shuffled(SAMPLE)],
        [gzip.compress(SAMPLE)],
        [pa.Codec("zstd").compress(SAMPLE, asbytes=True)],
        [b"\xef\xbb\xbf" + SAMPLE.replace(b"\n", b"\r\n")],
        [b"[" + SAMPLE.rstrip().replace(b"\n", b",\n") + b"]"],
        [b'{"batch":[' + SAMPLE.rstrip().replace(b"\n", b",") + b"]}"],
        [b"".join(SAMPLE.splitlines(keepends=True)[start::7]) for start in range(7)],
        [SAMPLE, SAMPLE],
    ],
    ids=["plain", "shuffled", "gzip", "zstd", "BOM and CRLF", "array", "batch body", "split", "twice"],
)
@pytest.mark.parametrize("size", [8 << 20, 200_000])
def test_the_same_events_give_the_same_tables_however_they_come(
    settings: Settings,
    tmp_path: Path,
    expected: dict[str, list[str]],
    pieces: list[bytes],
    size: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("loader.pipeline.worker.CHUNK_SIZE", size)
    results = [load_bytes(settings, piece, tmp_path, f"piece{i}") for i, piece in enumerate(pieces)]
    assert content(settings) == expected
    for result in results:
        counts = result.counts
        others = ("loaded", "duplicate", "rejected", "ignored", "suppressed")
        assert counts["events_read"] == sum(counts[f"events_{name}"] for name in others)


def test_a_file_is_read_once_and_again_when_it_has_changed(settings: Settings, tmp_path: Path) -> None:
    assert load_events(settings, [event()], tmp_path).counts["events_read"] == 1
    result = load_file(settings, tmp_path / "events")
    assert (result.status, result.files, result.counts["events_read"]) == ("empty", 0, 0)
    assert load_file(settings, tmp_path / "events", again=True).counts["events_duplicate"] == 1
    result = load_events(settings, [event(), event(messageId="m2")], tmp_path)
    assert (result.counts["events_loaded"], result.counts["events_duplicate"]) == (1, 1)


def test_the_ledger_says_what_was_done(settings: Settings, tmp_path: Path) -> None:
    load_events(settings, [event(), event(), event(messageId="m2"), event(type="identify"), 5], tmp_path)
    loads = one(settings, "select * from loads")
    files = one(settings, "select * from files")
    counts = {
        "events_read": 5,
        "events_loaded": 2,
        "events_duplicate": 1,
        "events_rejected": 1,
        "events_ignored": 1,
        "events_suppressed": 0,
        "values_discarded": 0,
    }
    assert loads.items() >= {"status": "partial", "files": 1, "error": None, **counts}.items()
    assert files.items() >= {"status": "done", "line": 5, "uri": str(tmp_path / "events"), **counts}.items()
    assert files["position"] == (tmp_path / "events").stat().st_size


def test_of_two_deliveries_the_one_received_first_stays(settings: Settings, tmp_path: Path) -> None:
    late, early = event(receivedAt="2025-01-01T00:00:09.000Z"), event(receivedAt="2025-01-01T00:00:05.000Z")
    load_events(settings, [late, early], tmp_path)
    load_events(settings, [event(receivedAt="2025-01-01T00:00:04.000Z")], tmp_path, "later")
    assert one(settings, "select received_at from tracks") == {"received_at": at(5)}


def test_an_id_under_two_timestamps_is_two_rows(settings: Settings, tmp_path: Path) -> None:
    load_events(settings, [event(), event(originalTimestamp="2025-01-01T00:00:09.000Z")], tmp_path)
    assert one(settings, "select count(*) from tracks") == {"count": 2}


def test_events_without_a_timestamp_are_told_apart_by_their_id(settings: Settings, tmp_path: Path) -> None:
    bare = event(originalTimestamp=None, timestamp=None)
    load_events(settings, [bare, bare, {**bare, "messageId": "m2"}], tmp_path)
    result = load_events(settings, [bare], tmp_path, "again")
    assert result.counts["events_duplicate"] == 1
    assert one(settings, "select count(*) from tracks") == {"count": 2}


def test_several_processes_load_as_one(settings: Settings, tmp_path: Path, expected: dict[str, list[str]]) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    lines = SAMPLE.splitlines(keepends=True)
    for start in range(6):
        (folder / f"{start}.jsonl").write_bytes(
            b"".join(lines[start::5])
        )  # the last file repeats the lines of the first
    result = load_file(settings, folder, jobs=3)
    assert result.errors == []
    assert content(settings) == expected
    assert one(settings, "select events_read, events_loaded, files from loads") == {
        "events_read": result.counts["events_read"],
        "events_loaded": 2985,
        "files": 6,
    }


def test_a_dry_run_says_what_would_be_and_writes_nothing(settings: Settings, tmp_path: Path) -> None:
    load_events(settings, [event()], tmp_path)
    before = tables(settings), content(settings), select(settings, "select * from loads")
    events = [event(), event(messageId="m2", properties={"score": 1}), event(event="New", messageId="m3"), 5]
    result = load_bytes(settings, ndjson(events), tmp_path, "dry", dry_run=True)
    assert dict(+result.tables) == {"email_opened": 1, "new": 1, "tracks": 2}
    assert (result.counts["events_duplicate"], result.counts["events_rejected"]) == (1, 1)
    ddl = "\n".join(result.ddl)
    assert 'alter table "selligent"."email_opened" add column if not exists "score" bigint' in ddl
    assert 'CREATE TABLE IF NOT EXISTS selligent."new"' in ddl
    assert (tables(settings), content(settings), select(settings, "select * from loads")) == before


def test_a_column_that_cannot_be_added_now_does_not_stop_the_load(settings: Settings, tmp_path: Path) -> None:
    assert settings.database_url
    with psycopg.connect(settings.database_url) as reader:
        reader.execute("select * from selligent.email_opened")  # holds its lock until the end of the transaction
        result = load_events(settings, [event(properties={"score": 1, "email_id": 2})], tmp_path)
    assert result.status == "ok"
    assert one(settings, "select email_id from email_opened") == {"email_id": "2"}
    waiting = one(settings, "select table_name, property, value, reason from discarded_values")
    assert tuple(waiting.values()) == ("email_opened", "score", "1", "no_column")


def test_an_empty_file_is_no_error(settings: Settings, tmp_path: Path) -> None:
    for name, data in {"empty": b"", "bom": b"\xef\xbb\xbf", "blank": b"\n\n", "array": b"[]\n"}.items():
        result = load_bytes(settings, data, tmp_path, name)
        assert (result.status, result.files, result.counts["events_read"]) == ("empty", 1, 0), name


def test_nothing_to_read_is_an_error(settings: Settings) -> None:
    with pytest.raises(InputError, match="nowhere"):
        load(settings, ["nowhere"], Options())


def test_a_schema_that_is_not_prepared_is_named(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="'elsewhere' is not prepared; run `selligent-loader init`"):
        load_events(Settings(settings.database_url, "elsewhere"), [event()], tmp_path)


@pytest.mark.parametrize(("version", "todo"), [("0001", "selligent-loader migrate"), ("9999", "newer")])
def test_a_schema_of_another_version_is_named(settings: Settings, tmp_path: Path, version: str, todo: str) -> None:
    assert settings.database_url
    with psycopg.connect(settings.database_url) as connection:
        connection.execute("update selligent_ops.alembic_version set version_num = %s", [version])
    with pytest.raises(SchemaError, match=todo):
        load_events(settings, [event()], tmp_path)


def test_the_json_result_has_all_that_others_rely_on(settings: Settings, tmp_path: Path) -> None:
    result = json.loads(json.dumps(load_events(settings, [event()], tmp_path).as_json()))
    assert result.items() >= {"load_id": 1, "status": "ok", "files": 1, "events_read": 1, "events_loaded": 1}.items()
    assert result["tables"] == {"email_opened": 1, "tracks": 1}
    assert result.keys() >= {
        "events_duplicate",
        "events_rejected",
        "events_ignored",
        "events_suppressed",
        "values_discarded",
        "seconds",
    }


def estimate(settings: Settings, table: str) -> float:
    """Return the planner's number of rows; -1 if the table has never been analyzed."""
    query = "select reltuples::float8 as rows from pg_class where oid = to_regclass(%s)"
    return float(one(settings, query, f"selligent.{table}")["rows"])


@pytest.fixture(autouse=True)
def without_autovacuum(settings: Settings) -> None:
    assert settings.database_url
    with psycopg.connect(settings.database_url) as connection:
        for table in ("tracks", "email_opened", "email_bounced"):
            connection.execute(f"alter table selligent.{table} set (autovacuum_enabled = false)")


def load_numbered(settings: Settings, tmp_path: Path, name: str, count: int) -> None:
    load_events(settings, [event(messageId=f"{name}{n}") for n in range(count)], tmp_path, name)


def test_tables_of_which_much_is_new_are_analyzed(settings: Settings, tmp_path: Path) -> None:
    load_numbered(settings, tmp_path, "first", 1000)
    assert [estimate(settings, table) for table in ("tracks", "email_opened", "email_bounced")] == [1000, 1000, -1]
    load_numbered(settings, tmp_path, "few", 20)
    assert estimate(settings, "tracks") == 1000
    load_numbered(settings, tmp_path, "some", 50)
    assert estimate(settings, "tracks") == 1070


def test_what_a_killed_load_left_counts_as_new(settings: Settings, tmp_path: Path) -> None:
    load_numbered(settings, tmp_path, "first", 1000)
    insert = """
        insert into {table} (id, event, event_text, received_at, timestamp)
        select 'x' || n, 'email_opened', 'Email Opened', now(), now() from generate_series(1, 60) as n
    """
    assert settings.database_url
    with psycopg.connect(settings.database_url) as connection:
        for table in ("tracks", "email_opened"):
            connection.execute(insert.format(table=f"selligent.{table}"))
    load_numbered(settings, tmp_path, "few", 1)
    assert estimate(settings, "tracks") == 1061


def test_a_table_in_use_is_left_alone(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(advisory_locks, "TABLE_TIMEOUT", "100ms")
    load_numbered(settings, tmp_path, "first", 10)
    assert settings.database_url
    with psycopg.connect(settings.database_url) as connection:
        connection.execute("lock table selligent.tracks in share update exclusive mode")  # the lock mode of vacuum
        load_numbered(settings, tmp_path, "second", 10)
    assert (estimate(settings, "tracks"), estimate(settings, "email_opened")) == (10, 20)
    assert [row["status"] for row in select(settings, "select status from loads")] == ["ok", "ok"]


def test_nothing_touched_is_nothing_analyzed(settings: Settings) -> None:
    with closing(Warehouse(settings)) as warehouse:
        assert analyze(warehouse, {}) == []
        assert analyze(warehouse, {"email_opened": 1}) == ["email_opened"]
