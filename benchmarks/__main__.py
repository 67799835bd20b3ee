"""Measure the loader against what PostgreSQL can copy and against other tools; write the table in README.md."""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks import peers
from benchmarks.history import fill
from benchmarks.loading import copy_rows, empty, execute, load_file, prepare_rows, truncate
from benchmarks.nightly import compare_nights
from benchmarks.versions import compare_versions
from benchmarks.views import compare_views, compare_whole
from loader.config import Settings
from loader.postgres import embedded
from loader.sample import ndjson as sample

README = Path(__file__).parent / "README.md"
Row = tuple[str, str, str]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--events", type=int, default=500_000, help="events a load")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--history", type=int, default=20_000_000, help="rows that are there before; 0 leaves this out")
    parser.add_argument("--large", type=int, default=3_200_000, help="events of the large file; 0 leaves this out")
    parser.add_argument("--peer-events", type=int, default=100_000, help="events for the peers; 0 leaves them out")
    views = [1_000_000, 5_000_000, 20_000_000]
    parser.add_argument("--views", type=int, nargs="*", default=views, help="events behind the views, by warehouse")
    parser.add_argument("--before", help="a commit to compare with, at the smallest of these warehouses")
    nights = [0, 5_000_000, 20_000_000]
    parser.add_argument("--nights", type=int, nargs="*", default=nights, help="rows that are there before a night's")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="selligent-bench-") as folder:
        home = Path(folder)
        home.chmod(0o711)  # so that root's server, which runs as another user, gets through
        try:
            url = os.environ.get("SELLIGENT_DATABASE_URL") or embedded.start(home / "server").url
            write(list(run(Settings(url, "bench"), home, options)))
        finally:
            embedded.stop(home / "server")


def run(settings: Settings, folder: Path, options: argparse.Namespace) -> Iterator[Row]:
    yield from compare_with_limit(settings, folder, options)
    if options.history:
        yield from compare_with_history(settings, folder, options)
    yield from compare_nights(settings, folder, options.nights)
    if options.large:
        yield from compare_memory(settings, folder, options)
    yield from compare_whole(settings, folder, 400_000, options.rounds)
    for events in options.views:
        yield from compare_views(settings, folder, events, options.rounds)
    if options.before:
        yield from compare_versions(settings, folder, options.before, min(options.views))
    if options.peer_events:
        yield from compare_with_peers(settings, folder, options)


def write_sample(path: Path, events: int, year: int = 2025) -> Path:
    """Write sample events of a year."""
    with path.open("wb") as stream:
        for block in sample.lines(events, seed=year):
            stream.write(block.replace(b'"2025-', f'"{year}-'.encode()))
    return path


def compare_with_limit(settings: Settings, folder: Path, options: argparse.Namespace) -> Iterator[Row]:
    """One process into empty tables; the same again, all of it stored; a load with nothing to do."""
    path = write_sample(folder / "events.jsonl", options.events)
    other = Settings(settings.database_url, "bench_limit")
    empty(other)
    prepared = prepare_rows(other, path)
    limits, loads, again, nothing = [], [], [], []
    for _ in range(options.rounds):
        truncate(other)
        limits.append(copy_rows(other, prepared, options.events).rate)
        empty(settings)
        loads.append(load_file(settings, path).rate)
        again.append(load_file(settings, path, again=True).rate)
        nothing.append(load_file(settings, path).seconds)
        say(f"limit {limits[-1]:,.0f}/s, load {loads[-1]:,.0f}/s, again {again[-1]:,.0f}/s")
    limit, rate = median(limits), median(loads)
    yield "limit: binary COPY of the same rows, encoded beforehand", f"{limit:,.0f} events/s", "1"
    yield "load, one process, into empty tables", f"{rate:,.0f} events/s", f"{rate / limit:.2f} of the limit"
    yield (
        "the same file again, all of it stored",
        f"{median(again):,.0f} events/s",
        f"{median(again) / rate:.2f} of the first time",
    )
    yield "a load with nothing to do", f"{median(nothing):.2f} s", ""


def compare_with_history(settings: Settings, folder: Path, options: argparse.Namespace) -> Iterator[Row]:
    """Into tables that hold years of events already, against empty ones."""
    full = Settings(settings.database_url, "bench_history")
    empty(full)
    fill(full, options.history)
    empties, fulls = [], []
    for year in range(2025, 2025 + options.rounds):
        path = write_sample(folder / "events.jsonl", options.events, year)
        empty(settings)
        empties.append(load_file(settings, path))
        execute(full, "checkpoint")
        fulls.append(load_file(full, path))
        say(f"empty {empties[-1].rate:,.0f}/s, full {fulls[-1].rate:,.0f}/s")
    rate, wal = median(m.rate for m in fulls), median(m.wal for m in fulls)
    base, base_wal = median(m.rate for m in empties), median(m.wal for m in empties)
    rows = f"{options.history // 1_000_000} million rows"
    yield f"load into tables with {rows}", f"{rate:,.0f} events/s", f"{rate / base:.2f} times into empty ones"
    yield (
        "its write-ahead log",
        f"{wal / options.events:,.0f} bytes an event",
        f"{wal / base_wal:.2f} times into empty ones",
    )
    execute(full, f"drop schema {full.schema}, {full.ops} cascade")


def compare_memory(settings: Settings, folder: Path, options: argparse.Namespace) -> Iterator[Row]:
    """Peak memory of the command."""
    for events in (options.large // 100, options.large):
        path = write_sample(folder / "events.jsonl", events)
        empty(settings)
        # What Linux says of the process alone; `getrusage` would start from our own peak.
        script = "import sys; from loader.cli.main import run; code = run(sys.argv[1:]); " + (
            "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0], file=sys.stderr); sys.exit(code)"
        )
        environment = os.environ | {"SELLIGENT_DATABASE_URL": settings.database_url or ""}
        command = [sys.executable, "-c", script, "load", "--json", "--schema", settings.schema, str(path)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        peak = int(done.stderr.split()[-1]) >> 10
        yield f"peak memory for a file of {path.stat().st_size / 1e6:,.0f} MB", f"{peak} MB", ""


def compare_with_peers(settings: Settings, folder: Path, options: argparse.Namespace) -> Iterator[Row]:
    """Other tools with the same events."""
    path = write_sample(folder / "events.jsonl", options.peer_events)
    rates = []
    for _ in range(options.rounds):
        empty(settings)
        rates.append(load_file(settings, path).rate)
    rate = median(rates)
    yield f"load of {options.peer_events:,} events", f"{rate:,.0f} events/s", ""
    for peer in peers.PEERS:
        found = options.peer_events / peers.run(peer, path, settings.database_url or "", "bench_peer")
        say(f"{peer} {found:,.0f}/s")
        yield f"{peer}, the same events", f"{found:,.0f} events/s", f"the load is {rate / found:.1f} times as fast"
    yield "versions", ", ".join(f"{name} {version}" for name, version in peers.versions().items()), ""


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def write(rows: list[Row]) -> None:
    """Print the table, and put it into README.md."""
    lines = ["| what | measured | ratio |", "|---|---|---|", *(f"| {' | '.join(row)} |" for row in rows)]
    table = "\n".join(lines)
    print(table)
    text = re.sub(r"(?s)(<!-- results -->\n).*(<!-- end -->)", lambda m: f"{m[1]}{table}\n{m[2]}", README.read_text())
    README.write_text(text)


if __name__ == "__main__":
    main()
