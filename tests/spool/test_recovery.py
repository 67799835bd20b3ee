"""Reading a spool without its server: open segments of a dead one, those of a live one, and private files."""

import json
import logging
import shutil
import threading
from contextlib import closing, suppress
from pathlib import Path

import pytest

from loader.config import Settings
from loader.errors import InputError
from loader.pipeline.options import Options
from loader.spool.segments import site_log
from loader.spool.writer import Spool
from tests.spool.test_writer import spool
from tests.support.loading import event, load, ndjson, one, select

TORN = b'{"type":"track","event":"Email Op'


def left_open(folder: Path) -> Path:
    """Return a spool with closed and open segments, a torn line, a reject and a copy of keys, as after a kill."""
    live = folder / "live"
    with spool(live) as (made, delivered):
        made.append("selligent", ndjson([event(messageId="closed")]), 0)
        delivered.wait(1)
        made.rotate()
        made.append("selligent", ndjson([event(messageId="open"), {"type": "sing"}]), 1)
        delivered.wait(2)
        (live / "keys.json").write_text(json.dumps([{"schema": "selligent", "key_id": 1, "hash": "00"}]))
        shutil.copytree(live, folder / "dead")
    (segment,) = (folder / "dead" / "selligent" / ".open").glob("*.jsonl")
    segment.write_bytes(segment.read_bytes() + TORN)
    return folder / "dead"


@pytest.mark.parametrize("name", ["", "selligent"])
def test_a_spool_of_a_dead_server_is_loaded_whole_and_once(settings: Settings, tmp_path: Path, name: str) -> None:
    dead = left_open(tmp_path)
    result = load(settings, [str(dead / name)], Options(max_rejects=9))
    assert [row["id"] for row in select(settings, "select id from tracks order by id")] == ["closed", "open"]
    assert result.counts["events_rejected"] == 1
    with spool(dead) as (made, _):  # a server that starts here later
        made.rotate()
        again = load(settings, [str(path) for path in made.closed("selligent")], Options())
    assert again.counts["events_read"] == 0
    assert one(settings, "select count(*) from rejected_events") == {"count": 1}


def test_open_segments_of_a_server_that_runs_are_left_with_a_warning(
    settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with spool(tmp_path) as (made, delivered), caplog.at_level(logging.WARNING):
        for n in range(2):
            made.append("selligent", ndjson([event(messageId=f"m{n}")]), n)
            delivered.wait(n + 1)
            if n == 0:
                made.rotate()
        load(settings, [str(tmp_path / "selligent")], Options())
        assert len(list((tmp_path / "selligent" / ".open").glob("*.jsonl"))) == 1
    assert [row["id"] for row in select(settings, "select id from tracks")] == ["m0"]
    assert "because a server holds the lock" in caplog.text


def test_calls_of_the_companys_site_are_never_read_as_events(settings: Settings, tmp_path: Path) -> None:
    log_name, spooled = site_log("selligent"), threading.Event()
    with closing(Spool(tmp_path, ["selligent", log_name], 1 << 20, lambda *_: spooled.set())) as made:
        for name in ("kept", "closed"):
            made.append(log_name, ndjson([event(messageId=name)]), None)
            assert spooled.wait(10)
            made.rotate()
            if name == "kept":
                made.archive(made.closed(log_name)[0])
    (segment,) = tmp_path.glob(".selligent.site/*.gz")
    (kept,) = tmp_path.glob(".selligent.site/.loaded/*.gz")
    load(settings, [str(tmp_path)], Options())
    for path in (segment, kept, segment.parent):
        with suppress(InputError):
            load(settings, [str(path)], Options())
    assert one(settings, "select count(*) from tracks") == {"count": 0}


def test_the_copy_of_the_write_keys_is_never_read_as_events(settings: Settings, tmp_path: Path) -> None:
    dead = left_open(tmp_path)
    for path in (str(dead), f"{dead}/*/*"):
        load(settings, [path], Options(max_rejects=9))
    for path in (f"{dead}/*", f"{dead}/keys.json"):
        with pytest.raises(InputError):
            load(settings, [path], Options())
    assert one(settings, "select count(*) from files where uri like '%%keys.json'") == {"count": 0}
    assert one(settings, "select count(*) from rejected_events") == {"count": 1}
