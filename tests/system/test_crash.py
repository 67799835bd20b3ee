"""Crashes: a load that is killed repeatedly stores the same rows as an undisturbed one."""

import gzip
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from loader.config import Settings
from loader.migrate import migrate
from loader.postgres import advisory_locks
from loader.sample import ndjson as sample
from tests.support.loading import content, one, select
from tests.support.waiting import until

#: The command with small chunks, so that it has many transactions.
SMALL_CHUNKS = (
    "import loader.pipeline.worker; loader.pipeline.worker.CHUNK_SIZE = 300_000; "
    "from loader.cli.main import main; main()"
)
COMMAND = [sys.executable, "-c", SMALL_CHUNKS]
INSTALLED = [str(Path(sys.executable).with_name("selligent-loader"))]
KILLS = int(os.environ.get("SELLIGENT_TEST_KILLS", "10"))

#: Valid lines before each invalid one.
GOOD = 700
BAD = [b'"\xff"', b"{}", b"5", b'{"type":"sing"}']
BROKEN = [*BAD, b'{"type":', b"\0"]


def load(command: Sequence[str], settings: Settings, folder: Path, *options: str) -> "subprocess.Popen[bytes]":
    place = ["--database-url", str(settings.database_url), "--schema", settings.schema]
    return subprocess.Popen(
        [*command, "load", str(folder), "--max-rejects", "1000", *place, *options],
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )


def seconds_of(settings: Settings, folder: Path) -> float:
    """Load a folder completely, and return the duration in seconds."""
    begun = time.monotonic()
    with load(COMMAND, settings, folder) as process:
        assert process.wait(120) == 0
    return time.monotonic() - begun


def kill_after(settings: Settings, folder: Path, seconds: float) -> None:
    with load(COMMAND, settings, folder) as process:
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        process.kill()


def mixed(lines: Sequence[bytes], bad: Sequence[bytes]) -> list[bytes]:
    """Return lines with an invalid one after every GOOD lines."""
    kinds = cycle(bad)
    parts = (lines[start : start + GOOD] for start in range(0, len(lines), GOOD))
    return [line for part in parts for line in (*part, next(kinds))]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with three files of each format, each of which repeats some events of the previous one."""
    path = tmp_path / "folder"
    path.mkdir()
    lines = b"".join(sample.lines(60_000, seed=11)).splitlines()
    plain, packed, array = lines[:25_000], lines[20_000:45_000], lines[40_000:]
    (path / "1.jsonl").write_bytes(b"\n".join(mixed(plain, BROKEN)))
    (path / "2.jsonl.gz").write_bytes(gzip.compress(b"\n".join(mixed(packed, BROKEN)), 1))
    (path / "3.json").write_bytes(b"[" + b",\n".join(mixed(array, BAD)) + b"]\n")
    # Some end in the middle of a line. Changed just now, they would count as still being written, for a minute.
    for file in path.iterdir():
        os.utime(file, (0, 0))
    return path


def stored(settings: Settings) -> dict[str, list[str]]:
    """Return everything that a load stores: rows, rejects, discarded values, and the counts of each file."""
    queries = {
        "rejects": "select uri, line, raw, reason from rejected_events",
        "discards": "select event_id, table_name, property, value, reason from discarded_values",
        "counts": """
            select uri, sum(events_read) as read, sum(events_loaded) as loaded, sum(events_duplicate) as duplicate,
                sum(events_rejected) as rejected, sum(values_discarded) as discarded
            from files group by uri
        """,
    }
    kept = {name: [str(tuple(row.values())) for row in select(settings, query)] for name, query in queries.items()}
    return content(settings) | kept


def differences(found: dict[str, list[str]], expected: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return some of the rows that are on one side only; showing all could take minutes."""
    missing = ["no such table"]
    sides = {name: (found.get(name, missing), expected.get(name, missing)) for name in {*found, *expected}}
    return {name: excess("+", a, b) + excess("-", b, a) for name, (a, b) in sides.items() if Counter(a) != Counter(b)}


def excess(sign: str, some: list[str], others: list[str]) -> list[str]:
    return [f"{sign} {row}" for row in list((Counter(some) - Counter(others)).elements())[:3]]


def left_behind(settings: Settings) -> list[Any]:
    """Return what killed loads still have in the database: sessions, with their transactions, and locks."""
    sessions = """
        select pid, state, query from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid() and application_name ~ '^selligent-loader'
    """
    held = """
        select pid, classid, objid from pg_locks
        where database = (select oid from pg_database where datname = current_database())
            and locktype = 'advisory' and classid in (%s, %s)
    """
    return select(settings, sessions) + select(settings, held, advisory_locks.LOAD, advisory_locks.FILE)


@pytest.mark.slow
def test_a_load_killed_again_and_again_ends_like_one_that_was_not(settings: Settings, folder: Path) -> None:
    clean = Settings(settings.database_url, "clean")
    migrate(clean)
    whole, idle = seconds_of(clean, folder), seconds_of(clean, folder)
    # Each load continues where the last one was killed, so together they do the work of one undisturbed load, and some
    # of it is left for the last.
    chance, latest = random.Random(20), idle + 2 * (whole - idle) / KILLS
    for _ in range(KILLS):
        kill_after(settings, folder, chance.uniform(idle / 2, latest))
    until(lambda: not left_behind(settings), 5)
    seconds_of(settings, folder)

    broken_off = "select from files where status = 'failed' and error = 'the loader was killed' and events_read > 0"
    assert len(select(settings, broken_off)) >= KILLS // 10
    statuses = Counter(row["status"] for row in select(settings, "select status from loads"))
    assert statuses["failed"] >= KILLS // 10  # the others were killed during their refresh
    assert statuses.keys() <= {"failed", "ok", "empty"}
    assert differences(stored(settings), stored(clean)) == {}
    for view in ("campaigns", "email_messages"):
        rows = f"select to_jsonb(v) as row from {view} as v order by v::text"
        assert select(settings, rows) == select(clean, rows) != []
    assert one(settings, "select count(distinct uri) from rejected_events") == {"count": 3}
    until(lambda: not left_behind(settings), 5)


@pytest.mark.slow
def test_the_processes_of_a_killed_load_end_too(settings: Settings, tmp_path: Path) -> None:
    lines = b"".join(sample.lines(60_000, seed=11)).splitlines(keepends=True)
    for number in range(2):
        (tmp_path / f"{number}.jsonl").write_bytes(b"".join(lines[number::2]))
    with load(INSTALLED, settings, tmp_path, "--jobs", "2") as process:
        try:
            until(lambda: select(settings, "select from files where events_read > 0"), 30)
            process.kill()
            process.wait()
            until(lambda: not left_behind(settings), 10)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    with load(INSTALLED, settings, tmp_path) as process:
        assert process.wait(60) == 0
    assert one(settings, "select sum(events_read)::bigint as lines from files") == {"lines": len(lines)}
