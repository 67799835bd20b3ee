"""JSON in every layout is loaded as JSON lines are, in a bounded amount of memory, and each event once."""

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from loader.config import Settings
from loader.inputs import file as files
from loader.inputs.chunk import MAX_LINE
from tests.support.crash_points import KILLED_AT
from tests.support.json_layouts import TRICKY, layouts
from tests.support.loading import content, event, load_bytes, load_events, ndjson, one, select

DATA = Path(__file__).parents[1] / "data"

EVENTS = st.lists(
    st.builds(
        event,
        messageId=st.sampled_from(["a", "b", "c", "d", None]),
        properties=st.dictionaries(st.sampled_from(["a", "b", "c"]), TRICKY | st.lists(TRICKY, max_size=2), max_size=3),
        userId=st.sampled_from(["u1", "u2"]),
    ),
    max_size=6,
)


def rejects(settings: Settings) -> list[tuple[int, bytes, str]]:
    rows = select(settings, "select line, raw, reason from rejected_events order by rejected_id")
    return [(row["line"], bytes(row["raw"]), row["reason"]) for row in rows]


@pytest.mark.parametrize("name", ["pretty_events.json", "pretty_batch.json"])
def test_values_over_several_lines_are_events(settings: Settings, tmp_path: Path, name: str) -> None:
    result = load_bytes(settings, (DATA / name).read_bytes(), tmp_path)
    assert (result.status, result.counts["events_loaded"], rejects(settings)) == ("ok", 2, [])
    if "batch" in name:
        found = "select distinct context_ip, sent_at::text as sent_at from email_opened"
        assert one(settings, found) == {"context_ip": "192.0.2.1", "sent_at": "2026-01-02 03:04:06+00"}


@hypothesis_settings(
    max_examples=25, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(EVENTS, st.data(), st.integers(1, 500))
def test_events_are_the_same_rows_in_any_layout(
    settings: Settings, tmp_path: Path, events: list[dict[str, Any]], data: st.DataObject, size: int
) -> None:
    load_events(settings, events, tmp_path, "lines")
    rows = content(settings)
    written = data.draw(layouts(events))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("loader.pipeline.worker.CHUNK_SIZE", size)
        result = load_bytes(settings, written, tmp_path, "layout", again=True)
    assert result.counts["events_duplicate"] == result.counts["events_read"] == len(events)
    assert content(settings) == rows


def test_a_lost_line_end_costs_no_event(settings: Settings, tmp_path: Path) -> None:
    lines = ndjson(event(messageId=name) for name in "abcdef").splitlines(keepends=True)
    lines[1:3] = [lines[1].rstrip() + lines[2]]
    lines[2:4] = [lines[2].rstrip() + b'{"type": tr}' + lines[3]]
    result = load_bytes(settings, b"".join(lines), tmp_path)
    assert result.counts["events_loaded"] == 6
    assert rejects(settings) == [(3, b'{"type": tr}', "not_json")]


def test_a_batch_and_an_event_that_lost_their_line_end_are_separated(settings: Settings, tmp_path: Path) -> None:
    batch = {"batch": [event(messageId="b"), 5], "context": {"ip": "192.0.2.1"}}
    line = ndjson([event(messageId="a")]).rstrip() + ndjson([batch])
    assert load_bytes(settings, line, tmp_path).counts["events_loaded"] == 2
    assert rejects(settings) == [(1, b"5", "not_object")]
    assert one(settings, "select context_ip from tracks where id = 'b'") == {"context_ip": "192.0.2.1"}


def test_a_broken_value_is_kept_as_it_came_with_its_line(settings: Settings, tmp_path: Path) -> None:
    pretty = [json.dumps(event(messageId=name), indent=2).encode() + b"\n" for name in "abc"]
    broken = pretty[1].replace(b'"u1",', b'"u1"').rstrip()[:-1] + b'"x": "'
    result = load_bytes(settings, b"\n\n" + pretty[0] + broken + b"\n" + pretty[2], tmp_path)
    assert result.counts["events_loaded"] == 2
    assert rejects(settings) == [(3 + pretty[0].count(b"\n"), broken, "not_json")]


def test_a_pretty_file_that_breaks_off_is_left_until_it_is_complete(settings: Settings, tmp_path: Path) -> None:
    whole = b"".join(json.dumps(event(messageId=name), indent=2).encode() + b"\n" for name in "abc")
    result = load_bytes(settings, whole[:-90], tmp_path)
    assert (len(result.warnings), result.counts["events_loaded"], rejects(settings)) == (1, 2, [])
    result = load_bytes(settings, whole, tmp_path)
    assert (result.warnings, rejects(settings)) == ([], [])
    assert one(settings, "select count(*) from tracks") == {"count": 3}


def test_what_nobody_finishes_is_one_reject(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "SETTLING_SECONDS", 0.0)
    cut = json.dumps([event(messageId=name) for name in "abc"], indent=2).encode()[:-90]
    assert load_bytes(settings, cut, tmp_path).counts["events_loaded"] == 2
    assert [(line, reason) for line, _, reason in rejects(settings)] == [(22, "not_json")]


def batch(count: int, size: int) -> bytes:
    """Return the body of a batch call, over several lines, with fields after its events."""
    events = [event(messageId=f"m{n}", receivedAt=None, properties={"text": "x" * size}) for n in range(count)]
    return json.dumps({"batch": events, "receivedAt": "2025-01-01T00:00:09Z"}, indent=1).encode()


@pytest.mark.parametrize("layout", ["pretty", "batch"])
def test_a_killed_load_goes_on_in_the_middle(settings: Settings, tmp_path: Path, layout: str) -> None:
    count = 1500
    data = batch(count, 3000)
    if layout == "pretty":
        data = b"\n".join(json.dumps(item, indent=2).encode() for item in json.loads(data)["batch"])
        data = data.replace(b'"sentAt"', b'"receivedAt"')
    path = tmp_path / "events.json"
    path.write_bytes(data)
    os.utime(path, (0, 0))
    # So that a batch is read event by event, as one above 16 MB is.
    program = f"import loader.inputs.json_lines\nloader.inputs.json_lines.MAX_LINE = 2_000_000\n{KILLED_AT}"
    chance, codes = random.Random(5), list[int]()
    arguments = ["load", str(path), "--database-url", str(settings.database_url), "--no-refresh"]
    while 0 not in codes and len(codes) < 20:
        step = f"{chance.choice(['chunk.copied', 'chunk.advanced', 'chunk.committed'])}:{chance.randint(1, 12)}"
        codes.append(subprocess.run([sys.executable, "-c", program, step, *arguments], check=False).returncode)
    assert set(codes) == {0, -signal.SIGKILL}
    assert one(settings, "select count(*) from tracks") == {"count": count}
    summed = "select sum(events_read)::int as read, sum(events_loaded)::int as loaded from files"
    assert one(settings, summed) == {"read": count, "loaded": count}
    assert rejects(settings) == []


@pytest.mark.parametrize(("count", "size"), [(3000, 3000), (50_000, 0)])
def test_a_batch_as_large_as_an_event_may_be_is_loaded(
    settings: Settings, tmp_path: Path, count: int, size: int
) -> None:
    """DuckDB has not enough memory for all of its events at once."""
    data = json.dumps(json.loads(batch(count, size))).encode()
    assert 8 << 20 < len(data) < MAX_LINE
    result = load_bytes(settings, data + b"\n" + ndjson([event(messageId="next")]), tmp_path)
    assert (result.counts["events_loaded"], result.counts["events_rejected"]) == (count + 1, 0)
    assert one(settings, "select count(*) from tracks where received_at = '2025-01-01T00:00:09Z'") == {"count": count}


MEASURE = """
import sys
from loader.inputs.json_lines import read_chunks
count = sum(len(chunk.texts) for chunk in read_chunks(open(sys.argv[1], "rb")))
print(count, open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
"""


@pytest.mark.parametrize("layout", ["pretty", "array", "batch", "one line"])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, layout: str) -> None:
    def peak(events: int) -> int:
        """Return the peak memory in MB of a process that reads a file with so many events of 1 KB."""
        item = json.dumps(event(properties={"text": "x" * 700, "list": [{"a": 1}, {}]}), indent=2).encode()
        start, separator, end = {
            "pretty": (b"", b"\n", b"\n"),
            "array": (b"[", b",\n", b"]"),
            "batch": (b'{"sentAt": "x", "batch": [', b",", b'], "context": {}}'),
            "one line": (b"", b"", b""),
        }[layout]
        if layout == "one line":
            item = json.dumps(json.loads(item)).encode()
        path = tmp_path / "events"
        with path.open("wb") as out:
            out.write(start + item)
            for _ in range(events - 1):
                out.write(separator + item)
            out.write(end)
        done = subprocess.run([sys.executable, "-c", MEASURE, path], capture_output=True, check=True, text=True)
        count, kilobytes = map(int, done.stdout.split())
        assert count == events
        return kilobytes >> 10

    assert peak(150_000) - peak(40_000) < 40
