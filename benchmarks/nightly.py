"""A night's file into warehouses of several sizes: what it costs, and the disk that events take."""

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg

from benchmarks.history import fill
from benchmarks.loading import Measured, empty, execute, load_file, measure
from loader.config import Settings
from loader.sample import ndjson as sample

EVENTS = 200_000
#: A load in a process of its own, which ends by saying its events and the most memory it had, in kB. The views are not
#: brought up to date: that is measured with them.
SCRIPT = """
import sys
from loader.config import settings
from loader.pipeline import load
from loader.result import Options
result = load(settings(), sys.argv[1:], Options())
assert result.status == "ok", result.errors
print(result.counts["events_read"], open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
"""
#: Bytes by kind of relation.
SIZES = """
    select case when relname = 'tracks' or starts_with(relname, 'tracks__') then 'tracks' else 'collections' end,
        case when relkind = 'r' then 'rows' when relname ~ '__key' then 'unique key' else 'BRIN indexes' end,
        sum(pg_relation_size(oid))::bigint
    from pg_class
    where relnamespace = %s::regnamespace and relkind in ('r', 'i') and relname !~ '^settings'
    group by 1, 2 order by 1 desc, 3 desc
"""


def compare_nights(settings: Settings, folder: Path, histories: list[int]) -> Iterator[tuple[str, str, str]]:
    """Yield what a night's file costs, in time order, shuffled, and half of it stored before."""
    for history in histories:
        empty(settings)
        if history:
            fill(settings, history)
        into = f"into {history // 1_000_000} million rows" if history else "into empty tables"
        for kind, path in _nights(folder):
            execute(settings, "checkpoint")
            found, peak = _load(settings, path)
            yield (
                f"night of {EVENTS:,}, {kind}, {into}",
                f"{found.seconds:.1f} s",
                f"{found.wal / EVENTS:,.0f} bytes of WAL an event, {peak} MB of memory",
            )
        yield f"the same again, nothing to do, {into}", f"{load_file(settings, path).seconds:.2f} s", ""
        if not history:
            yield from _sizes(settings)


def _nights(folder: Path) -> Iterator[tuple[str, Path]]:
    rng = random.Random(1)
    years = []
    for year in (2026, 2027, 2028):
        lines = b"".join(sample.lines(EVENTS, seed=year)).replace(b'"2025-', f'"{year}-'.encode())
        years.append(lines.splitlines(keepends=True))
    ordered, other, new = years
    rng.shuffle(other)
    mixed = rng.sample(ordered, EVENTS // 2) + new[: EVENTS // 2]
    rng.shuffle(mixed)
    for kind, night in (("in time order", ordered), ("shuffled", other), ("half of it stored before", mixed)):
        path = folder / "night.jsonl"
        path.write_bytes(b"".join(night))
        yield kind, path


def _load(settings: Settings, path: Path) -> tuple[Measured, int]:
    """Load a file in a process of its own; return what it took, and the most memory in MB."""
    environment = os.environ | {
        "SELLIGENT_DATABASE_URL": settings.database_url or "",
        "SELLIGENT_SCHEMA": settings.schema,
    }
    peaks: list[int] = []

    def run() -> int:
        command = [sys.executable, "-c", SCRIPT, str(path)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        events, peak = map(int, done.stdout.split())
        peaks.append(peak >> 10)
        return events

    return measure(settings, run), peaks[0]


def _sizes(settings: Settings) -> Iterator[tuple[str, str, str]]:
    with psycopg.connect(settings.database_url or "") as connection:
        ((events,),) = connection.execute(f"select count(*) from {settings.schema}.tracks".encode()).fetchall()
        for table, kind, size in connection.execute(SIZES, [settings.schema]):
            yield f"disk for a million events: {table}, {kind}", f"{size / events:,.0f} MB", ""
