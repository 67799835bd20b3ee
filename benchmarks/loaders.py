"""Measure 1, 2 and 4 loaders on the same files, each a process with a home of its own, as if on other machines.

    python -m benchmarks.loaders --files 200 --events 2000 --loaders 1 2 4

Each line says how fast all files were loaded, how the files were shared, and the processor time that loaders and server
took. The rows are compared with the events of the files. `--distributed` uses distributed tables on a Citus cluster;
the database in SELLIGENT_DATABASE_URL is then one of its coordinator.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.loading import drop, execute
from loader.config import Settings
from loader.migrate import migrate
from loader.postgres import embedded
from loader.sample import ndjson as sample

COMMAND = [sys.executable, "-c", "from loader.cli.main import main; main()", "load", "--no-refresh", "--json"]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loaders", description=__doc__)
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--events", type=int, default=2000, help="events a file")
    parser.add_argument("--loaders", type=int, nargs="*", default=[1, 2, 4])
    parser.add_argument("--distributed", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="selligent-bench-") as folder:
        home = Path(folder)
        home.chmod(0o711)  # so that root's server, which runs as another user, gets through
        try:
            url = os.environ.get("SELLIGENT_DATABASE_URL") or embedded.start(home / "server").url
            write_files(home / "files", options.files, options.events)
            print("| loaders | events/s | files a loader | processor seconds of the loaders |\n|---|---|---|---|")
            for loaders in options.loaders:
                print(f"| {' | '.join(run(Settings(url, 'bench'), home, loaders, options))} |", flush=True)
        finally:
            embedded.stop(home / "server")


def write_files(folder: Path, files: int, events: int) -> None:
    """Write sample events of a year, the same number into each file."""
    folder.mkdir()
    lines = b"".join(sample.lines(files * events, seed=1)).splitlines(keepends=True)
    for n in range(files):
        path = folder / f"{n:04}.jsonl"
        path.write_bytes(b"".join(lines[n * events : (n + 1) * events]))
        os.utime(path, (0, 0))


def run(settings: Settings, home: Path, loaders: int, options: argparse.Namespace) -> Iterator[str]:
    """Load all files with some loaders that start together; yield the cells of a row."""
    drop(settings)
    migrate(settings, is_distributed=options.distributed)
    execute(settings, "checkpoint")
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    processes = [start(settings, home, n) for n in range(loaders)]
    shares = sorted((json.loads(process.communicate()[0])["files"] for process in processes), reverse=True)
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    check(settings, options.files, options.files * options.events)
    yield str(loaders)
    yield f"{options.files * options.events / seconds:,.0f}"
    yield ", ".join(map(str, shares))
    yield f"{after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime:.1f}"


def start(settings: Settings, home: Path, number: int) -> "subprocess.Popen[bytes]":
    """Start a loader with a home of its own."""
    own = {"SELLIGENT_HOME": str(home / f"home{number}"), "SELLIGENT_DATABASE_URL": settings.database_url or ""}
    command = [*COMMAND, "--schema", settings.schema, str(home / "files")]
    return subprocess.Popen(command, env=os.environ | own, stdout=subprocess.PIPE)


def check(settings: Settings, files: int, events: int) -> None:
    """Fail unless each file was read once, and its events are in the tables as the ledger says."""
    done = execute(settings, f"select count(*) from {settings.ops}.files where status = 'done'")
    read = execute(settings, f"select sum(events_read)::bigint from {settings.ops}.files")
    loaded = execute(settings, f"select sum(events_loaded)::bigint from {settings.ops}.files")
    stored = execute(settings, f"select count(*) from {settings.schema}.tracks")
    if (done, read, loaded) != (files, events, stored):
        raise SystemExit(f"{done} of {files} files, {read} of {events} events read, {loaded} loaded, {stored} stored")


if __name__ == "__main__":
    main()
