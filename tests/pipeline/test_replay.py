"""Replay loads each reject once, keeps the others, and export writes their original bytes."""

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from loader.config import Settings
from loader.pipeline.options import Options
from loader.pipeline.rejected_events import RejectFilter, export_rejects
from loader.pipeline.replay import replay_rejects as replay
from loader.pipeline.result import LoadResult
from loader.schema.source import open_warehouse
from tests.support.loading import event, load_bytes, ndjson, one, select

NEW = [event(messageId=f"n{i}", event=f"New {i % 8}", properties={"n": i}) for i in range(400)]
ACCOUNTED = """
    select bool_and(events_read = events_loaded + events_duplicate + events_rejected + events_ignored) as ok,
        count(*) from loads
"""


def rejects(settings: Settings, *fields: str) -> list[tuple[Any, ...]]:
    """Return the rejects that have not been replayed."""
    query = f"select {', '.join(fields)} from rejected_events where replayed_at is null order by rejected_id"
    return [tuple(row.values()) for row in select(settings, query)]


def again(settings: Settings, reason: str | None = None, **limits: Any) -> LoadResult:
    return replay(settings, RejectFilter(reason), Options(**limits))


def test_what_loads_after_a_fix_is_loaded_once_and_the_rest_has_its_new_reason(
    settings: Settings, tmp_path: Path
) -> None:
    bad = [b"5", b'{"type":"sing"}', b'"\xff"', json.dumps(event(messageId="n399", event="Other")).encode()]
    load_bytes(settings, ndjson([*NEW, NEW[5]]) + b"\n".join(bad), tmp_path, max_tables=10)
    before = rejects(settings, "rejected_id", "reason")
    assert sum(reason == "no_table" for _, reason in before) == 201 + 1
    first = again(settings, "no_table", max_tables=12)
    assert (first.status, first.counts["events_read"]) == ("ok", 202)
    assert (first.counts["events_loaded"], first.counts["events_duplicate"]) == (100, 1)
    rest = again(settings, max_tables=13)
    assert {reason for _, reason in rejects(settings, "rejected_id", "reason")} >= {"not_object", "not_utf8"}
    last = again(settings)
    counts = [result.counts for result in (first, rest, last)]
    assert sum(count["events_loaded"] for count in counts) == 200
    assert sum(count["events_duplicate"] for count in counts) == 1
    left = {reason for (reason,) in rejects(settings, "reason")}
    assert left == {"not_object", "unknown_type", "not_utf8", "key_conflict"}
    numbers = {number for (number,) in rejects(settings, "rejected_id")}
    assert numbers <= {number for number, _ in before}
    assert one(settings, "select count(*) from tracks where id like 'n%'") == {"count": 400}
    assert one(settings, ACCOUNTED) == {"ok": True, "count": 4}
    health = "select is_ok from load_health where check_name = 'events accounted for by loads'"
    assert one(settings, health) == {"is_ok": True}
    assert [row["kind"] for row in select(settings, "select kind from loads order by 1")] == ["files", *["replay"] * 3]


def test_the_events_of_a_body_that_can_be_read_now_are_rejects_of_their_own(settings: Settings, tmp_path: Path) -> None:
    """Simulates an update that can read bodies which an older version rejected."""
    load_bytes(settings, b"{}\n", tmp_path)
    body = {"batch": [event(messageId="m1"), {"type": "sing"}, event(messageId="m2")]}
    assert settings.database_url
    with psycopg.connect(settings.database_url) as connection:
        connection.execute("update selligent_ops.rejected_events set raw = %s", [json.dumps(body).encode()])
    counts = again(settings).counts
    assert (counts["events_read"], counts["events_loaded"], counts["events_rejected"]) == (3, 2, 1)
    assert [(json.loads(raw), reason) for raw, reason in rejects(settings, "raw", "reason")] == [
        ({"type": "sing"}, "unknown_type")
    ]
    assert again(settings).counts["events_loaded"] == 0


KILLABLE = """
import loader.pipeline.replay, sys
loader.pipeline.replay.CHUNK_SIZE = 2_000
from loader.cli.main import main
main()
"""


def command(settings: Settings, *arguments: str) -> "subprocess.Popen[bytes]":
    place = ["--database-url", str(settings.database_url)]
    return subprocess.Popen(
        [sys.executable, "-c", KILLABLE, *arguments, *place], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def test_replays_that_are_killed_or_run_together_load_each_event_once(settings: Settings, tmp_path: Path) -> None:
    load_bytes(settings, ndjson(NEW) + b"5\n", tmp_path, max_tables=6)
    query = "select count(*) from rejected_events where replayed_at is not null"
    with command(settings, "rejects", "replay") as process:
        while process.poll() is None and one(settings, query)["count"] < 50:
            time.sleep(0.02)
        process.kill()
    killed = one(settings, query)["count"]
    assert 0 < killed < 400
    assert one(settings, "select count(*) from tracks") == {"count": killed}
    with ThreadPoolExecutor() as pool:
        codes = list(pool.map(lambda _: finished(settings, "rejects", "replay"), range(2)))
    assert sorted(codes) in ([0, 0], [0, 4])
    assert again(settings).counts["events_loaded"] == 0
    assert one(settings, query) == {"count": 400} == one(settings, "select count(*) from tracks")
    assert rejects(settings, "reason") == [("not_object",)]
    assert one(settings, "select sum(events_loaded)::bigint as loaded from loads") == {"loaded": 400}


def finished(settings: Settings, *arguments: str) -> int:
    with command(settings, *arguments) as process:
        process.communicate()
        return process.returncode


def test_rejects_are_exported_as_they_came_one_a_line(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loader.inputs.json_lines.MAX_LINE", 1000)
    long = b'{"x": "' + b"y" * 5000 + b'"}'
    load_bytes(settings, b'"\xff"\n' + long + b"\n" + b"5\r\n" + long, tmp_path, name="lines")
    load_bytes(settings, b'[{"a":\n1},\n7]', tmp_path, name="array")
    with open_warehouse(settings) as warehouse:
        exported = b"".join(export_rejects(warehouse, RejectFilter()))
        assert list(map(bytes.strip, exported.splitlines())) == [b'"\xff"', long, b"5", long, b'{"a": 1}', b"7"]
        assert exported.endswith(b"\n")
        assert b"".join(export_rejects(warehouse, RejectFilter("not_utf8"))) == b'"\xff"\n'
        future = RejectFilter(since=datetime.now(UTC) + timedelta(hours=1))
        assert b"".join(export_rejects(warehouse, future)) == b""
    assert again(settings, "too_long").counts["events_read"] == 0


def test_a_purge_deletes_what_is_old_enough_and_nothing_that_waits(settings: Settings, tmp_path: Path) -> None:
    lines = [event(properties={"event": "reserved", "a": 1}), 5, {"type": "sing"}]
    load_bytes(settings, ndjson(lines), tmp_path, max_columns=17)
    assert settings.database_url
    with psycopg.connect(settings.database_url) as connection:
        old = "update selligent_ops.rejected_events set rejected_at = now() - interval '91 days'"
        connection.execute(f"{old} where reason = 'not_object'")
        connection.execute("update selligent_ops.discarded_values set discarded_at = now() - interval '91 days'")
    with command(settings, "rejects", "purge", "--older-than", "90d", "--json") as process:
        assert json.loads(process.communicate()[0]) == {"rejects": 1}
    assert rejects(settings, "reason") == [("unknown_type",)]
    with command(settings, "rejects", "purge", "--older-than", "90d", "--discards") as process:
        assert process.communicate()[0] == b"0 rejects, 1 discarded values deleted\n"
    assert select(settings, "select reason from discarded_values") == [{"reason": "no_column"}]


@pytest.mark.parametrize(("limit", "code"), [("1", 3), ("2", 0), ("1.9%", 3), ("2%", 0), ("101%", 2), ("some", 2)])
def test_rejects_are_allowed_by_number_or_by_share(settings: Settings, tmp_path: Path, limit: str, code: int) -> None:
    (tmp_path / "events").write_bytes(ndjson([*NEW[:98:8], *[event(messageId=f"m{i}") for i in range(85)], 5, 6]))
    assert finished(settings, "load", str(tmp_path / "events"), "--max-rejects", limit) == code
    assert one(settings, "select count(*) from tracks") == {"count": 98 if code != 2 else 0}
