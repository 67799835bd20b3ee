"""The spool: events that were acknowledged are on disk, in segments that `load` reads once, also after crashes."""

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

import pytest

from loader.config import Settings
from loader.crash_points import Received
from loader.errors import BusyError, UsageError
from loader.pipeline.options import Options
from loader.spool.writer import FullError, Spool
from tests.support.crash_points import at
from tests.support.loading import event, load, ndjson, one, select
from tests.support.waiting import until

LIMIT = 1 << 30


class Delivered:
    """A callback that records what was delivered, in order."""

    def __init__(self) -> None:
        self.done: list[Any] = []
        self.failed: list[OSError] = []
        self._changed = threading.Condition()

    def __call__(self, waiting: Sequence[Any], error: OSError | None) -> None:
        with self._changed:
            self.done += [] if error else waiting
            self.failed += [error] * len(waiting) if error else []
            self._changed.notify_all()

    def wait(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.done) + len(self.failed) >= count, 10)


@contextmanager
def spool(
    folder: Path, limit: int = LIMIT, schemas: Sequence[str] = ("selligent",)
) -> Iterator[tuple[Spool, Delivered]]:
    delivered = Delivered()
    made = Spool(folder, schemas, limit, delivered)
    try:
        yield made, delivered
    finally:
        made.close()


def written(path: Path) -> list[bytes]:
    """Return all lines of a spool's closed segments, in order."""
    segments = sorted(found for found in path.rglob("*.jsonl*"))
    return [
        line
        for segment in segments
        for line in (
            gzip.decompress(segment.read_bytes()) if segment.suffix == ".gz" else segment.read_bytes()
        ).splitlines()
    ]


def test_what_was_delivered_is_in_closed_segments_in_order(tmp_path: Path) -> None:
    with spool(tmp_path) as (made, delivered):
        for n in range(100):
            made.append("selligent", b"%d\n" % n, n)
            if n % 30 == 0:
                made.rotate()
        delivered.wait(100)
    assert delivered.done == list(range(100))
    assert written(tmp_path) == [b"%d" % n for n in range(100)]
    assert list((tmp_path / "selligent" / ".open").iterdir()) == []
    assert len(list((tmp_path / "selligent").glob("*.jsonl.gz"))) == 5


def test_all_that_wait_at_a_moment_share_an_fsync(tmp_path: Path) -> None:
    held, syncs = threading.Event(), []
    with spool(tmp_path) as (made, delivered):
        with (
            at("spool.written", lambda: held.wait(10)),
            at("spool.synced", lambda: syncs.append(len(delivered.done)), 2),
        ):
            made.append("selligent", b"first\n", 0)
            time.sleep(0.1)  # until it is being written
            for n in range(1, 50):
                made.append("selligent", b"%d\n" % n, n)
            assert delivered.done == []
            held.set()
            delivered.wait(50)
        assert syncs == [0, 1]  # each was delivered after its own sync


@pytest.mark.parametrize("step", [step for step in get_args(Received) if step != "segment.kept"])
def test_a_server_killed_at_any_step_has_all_that_it_answered_for(
    settings: Settings, tmp_path: Path, step: Received
) -> None:
    script = f"""
import os
from pathlib import Path
import loader.spool.writer
from loader.spool.writer import Spool
from tests.support.crash_points import kill_at
kill_at({step!r}, 3)
loader.spool.writer.SEGMENT_SIZE = 1000
def deliver(waiting, error):
    assert error is None
    os.write(1, b"".join(b"%d\\n" % n for n in waiting))
spool = Spool(Path({str(tmp_path / "spool")!r}), ["selligent"], 1 << 30, deliver)
lines = Path({str(tmp_path / "events")!r}).read_bytes().splitlines(keepends=True)
import time
for n, line in enumerate(lines):
    spool.append("selligent", line, n)
    time.sleep(0.001)
time.sleep(5)
"""
    (tmp_path / "events").write_bytes(ndjson(event(messageId=f"m{n}") for n in range(200)))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    answered = {f"m{n.decode()}" for n in done.stdout.split()}
    assert step.startswith("spool") or answered
    with spool(tmp_path / "spool") as (made, _):
        made.rotate()
        segments = made.closed("selligent")
        assert all(segment.suffix == ".gz" for segment in segments)
        assert made.depth == sum(segment.stat().st_size for segment in segments)
    result = load(settings, [str(tmp_path / "spool")], Options())
    assert (result.counts["events_duplicate"], result.counts["events_rejected"]) == (0, 0)
    assert answered <= {row["id"] for row in select(settings, "select id from tracks")}


def test_a_line_that_a_power_cut_tore_is_cut_off(tmp_path: Path) -> None:
    for content, lines in ((b"a\nb\nto", 2), (b"torn", 0), (b"", 0), (b"a\n" + b"x" * (3 << 20), 1), (b"a\n", 1)):
        folder = tmp_path / f"{len(content)}"
        with spool(folder):
            pass
        (folder / "selligent" / ".open" / "000000000007-0123abcd.jsonl").write_bytes(content)
        with spool(folder) as (made, delivered):
            made.append("selligent", b"new\n", 0)
            delivered.wait(1)
        assert written(folder) == [*[b"a", b"b"][:lines], b"new"]
        assert [path.name[:12] for path in sorted((folder / "selligent").glob("*.gz"))][-1] == "000000000008"


def test_only_one_server_has_a_spool(tmp_path: Path) -> None:
    with spool(tmp_path), pytest.raises(BusyError, match="another server writes to the spool") as raised:
        Spool(tmp_path, ["selligent"], LIMIT, Delivered())
    assert raised.value.exit_code == 4
    with spool(tmp_path):
        pass


def test_a_spool_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="name another with --spool"):
        Spool(tmp_path / "file", ["selligent"], LIMIT, Delivered())


def test_a_clock_that_was_set_back_changes_no_order(tmp_path: Path) -> None:
    for n in range(8):
        with spool(tmp_path) as (made, delivered):
            made.append("selligent", b"%d\n" % n, n)
            delivered.wait(1)
        for path in (tmp_path / "selligent").glob("*.gz"):
            os.utime(path, (4e9, 4e9))  # as if the clock had been ahead
    assert written(tmp_path) == [b"%d" % n for n in range(8)]
    with spool(tmp_path) as (made, _):
        assert made.age() == 0


def test_beyond_its_limit_the_spool_takes_nothing(tmp_path: Path) -> None:
    with spool(tmp_path, limit=1000) as (made, delivered):
        made.append("selligent", b"x" * 899 + b"\n", 0)
        with pytest.raises(FullError, match="limit"):
            made.append("selligent", b"x" * 200 + b"\n", 1)
        delivered.wait(1)
        assert made.is_ready()
        made.rotate()  # it is smaller when compressed
        made.append("selligent", b"x" * 200 + b"\n", 1)
        delivered.wait(2)
        made.rotate()
        for path in made.closed("selligent"):
            made.archive(path)
        assert made.depth == 0
    with spool(tmp_path, limit=1) as (made, _):
        assert made.depth == 0


def test_what_is_loaded_is_kept_for_a_while(settings: Settings, tmp_path: Path) -> None:
    with spool(tmp_path) as (made, delivered):
        made.append("selligent", ndjson([event()]), 0)
        delivered.wait(1)
        made.rotate()
        (path,) = made.closed("selligent")
        load(settings, [str(path)], Options())
        made.archive(path)
        assert made.closed("selligent") == []
        made.remove_older(60)
        kept = tmp_path / "selligent" / ".loaded"
        assert len(list(kept.iterdir())) == 1
        assert load(settings, [str(kept)], Options()).counts["events_duplicate"] == 1  # a replay
        os.utime(kept / path.name, (0, 0))
        made.remove_older(60)
        assert list(kept.iterdir()) == []


def test_the_spool_is_for_its_owner_only(tmp_path: Path) -> None:
    with spool(tmp_path / "spool") as (made, delivered):
        made.append("selligent", b"1\n", 0)
        delivered.wait(1)
        made.rotate()
        made.append("selligent", b"2\n", 0)
        delivered.wait(2)
        assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "spool", *tmp_path.rglob("*.jsonl*")))


def test_each_source_has_a_folder_of_its_own_within_the_spool(tmp_path: Path) -> None:
    schemas = ["../a b", "selligent", "."]
    with spool(tmp_path / "spool", schemas=schemas) as (made, delivered):
        for schema in schemas:
            made.append(schema, schema.encode() + b"\n", schema)
        delivered.wait(3)
        made.rotate()
        for schema in schemas:
            (path,) = made.closed(schema)
            assert gzip.decompress(path.read_bytes()).decode() == f"{schema}\n"
    assert {path.name for path in tmp_path.iterdir()} == {"spool"}


def test_a_full_disk_is_told_and_what_was_delivered_is_loaded(settings: Settings, disk: Path) -> None:
    with spool(disk) as (made, delivered):
        sent = 0
        while not delivered.failed:
            body = os.urandom(40_000).hex()  # hardly compressible
            made.append("selligent", ndjson([event(messageId=f"m{sent}", properties={"body": body})]), f"m{sent}")
            sent += 1
            delivered.wait(sent)
        assert delivered.failed[0].strerror == "No space left on device"
        made.rotate()
        load(settings, [str(path) for path in made.closed("selligent")], Options())
        assert {row["id"] for row in select(settings, "select id from tracks")} == set(delivered.done)
        for path in made.closed("selligent"):
            made.archive(path)
        made.remove_older(-60)
        assert made.is_ready()
        made.append("selligent", ndjson([event(messageId="after")]), "after")
        delivered.wait(sent + 1)
        made.rotate()
        load(settings, [str(path) for path in made.closed("selligent")], Options())
    assert one(settings, "select count(*) from tracks where id = 'after'") == {"count": 1}
    assert one(settings, "select count(*) from rejected_events") == {"count": 0}


def test_two_receivers_load_into_one_warehouse(settings: Settings, tmp_path: Path) -> None:
    """Each server has its own spool. Events that a sender repeats to the other one are stored once."""
    for n, name in enumerate(("one", "two")):
        with spool(tmp_path / name) as (made, delivered):
            lines = [json.dumps(event(messageId=f"m{number}")).encode() + b"\n" for number in range(n * 5, n * 5 + 10)]
            made.append("selligent", b"".join(lines), n)
            delivered.wait(1)
        load(settings, [str(tmp_path / name)], Options())
    assert one(settings, "select count(*), count(distinct id) as ids from tracks") == {"count": 15, "ids": 15}


def test_what_is_written_to_a_removed_folder_is_not_delivered(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    with spool(folder) as (made, delivered):
        made.append("selligent", b"1\n", 1)
        delivered.wait(1)
        shutil.rmtree(folder)
        assert not made.is_ready()
        made.append("selligent", b"2\n", 2)
        made.append("selligent", b"3\n", 3)
        delivered.wait(3)
        until(made.is_ready, 5)
        made.append("selligent", b"4\n", 4)
        delivered.wait(4)
        lost, on_disk = {1}, {int(line) for line in written(folder)}
        assert set(delivered.done) - lost == on_disk
        assert 4 in delivered.done
        made.rotate()
        assert made.depth == sum(path.stat().st_size for path in made.closed("selligent"))
        with pytest.raises(BusyError):
            Spool(folder, ["selligent"], LIMIT, Delivered())


def test_each_way_to_remove_the_folder_is_seen_by_the_next_write(tmp_path: Path) -> None:
    def replace(place: Path) -> None:
        (place / ".open").rename(place / "moved")
        (place / ".open").mkdir()

    ways: list[Callable[[Path], object]] = [
        shutil.rmtree,
        lambda place: place.rename(place.with_name("moved")),
        lambda place: next((place / ".open").glob("*.jsonl")).unlink(),
        replace,
    ]
    for number, remove in enumerate(ways):
        with spool(tmp_path / f"{number}") as (made, delivered):
            made.append("selligent", b"1\n", 1)
            delivered.wait(1)
            remove(tmp_path / f"{number}" / "selligent")
            made.append("selligent", b"2\n", 2)
            delivered.wait(2)
            assert (delivered.done, len(delivered.failed)) == ([1], 1)
            made.append("selligent", b"3\n", 3)
            delivered.wait(3)
            assert delivered.done == [1, 3]
            assert b"3" in written(tmp_path / f"{number}" / "selligent")


def test_on_a_full_disk_kept_copies_are_given_up_first_and_one_line_is_logged(
    disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with spool(disk) as (made, delivered):
        kept = disk / "selligent" / ".loaded"
        for number in range(1, 11):
            (kept / f"{number:012d}-0123abcd.jsonl.gz").write_bytes(os.urandom(100_000))
        sent = 0
        while not delivered.failed:
            made.append("selligent", os.urandom(20_000).hex().encode() + b"\n", sent)
            sent += 1
            delivered.wait(sent)
            assert not delivered.failed or not list(kept.iterdir())
            if len(found := sorted(path.name for path in kept.iterdir())) == 5:
                assert found[0].startswith("000000000006")
        assert sent > 25  # more than without the space of the copies
        for _ in range(50):
            made.append("selligent", os.urandom(20_000).hex().encode() + b"\n", sent)
            sent += 1
            delivered.wait(sent)
    assert caplog.text.count("cannot be written to the spool") == 1
