"""The whole command, load and refresh, of this version and of another one, on the same events in one run."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from benchmarks.loading import drop
from benchmarks.views import NIGHT, SITE, sample_lines, store_site, write_lines
from loader.config import Settings

ROOT = Path(__file__).resolve().parents[1]
#: Events of the loads after the first one, each with its number of files.
LOADS = {NIGHT: 3, 1_000: 1, 1: 3}


def compare_versions(settings: Settings, folder: Path, commit: str, events: int) -> Iterator[tuple[str, str, str]]:
    """Yield what each load takes this version, and how many times as long the version of a commit."""
    store_site(settings, folder, events)
    lines = sample_lines(events)
    before = events - sum(count * files for count, files in LOADS.items())
    files = {f"first {before:,}": [write_lines(folder / "first.jsonl", lines, before)]}
    for count, number in LOADS.items():
        names = (folder / f"{count}-{file}.jsonl" for file in range(number))
        files[f"{count:,} after them"] = [write_lines(name, lines, count) for name in names]
    with checked_out(commit, folder / "version") as other:
        seconds = [_measure(settings, root, files) for root in (other, ROOT)]
    for name in files:
        theirs, ours = (found[name] for found in seconds)
        yield (
            f"load and refresh of {events:,} events, {name}",
            f"{ours:,.2f} s",
            f"version {commit}: {theirs:,.2f} s, {theirs / ours:.1f} times as long",
        )


@contextmanager
def checked_out(commit: str, folder: Path) -> Iterator[Path]:
    """Yield a folder with the files of a commit."""
    subprocess.run(["git", "worktree", "add", "--quiet", "--detach", folder, commit], cwd=ROOT, check=True)
    try:
        yield folder
    finally:
        subprocess.run(["git", "worktree", "remove", "--force", folder], cwd=ROOT, check=True)


def _measure(settings: Settings, root: Path, files: dict[str, list[Path]]) -> dict[str, float]:
    """Return the median of the seconds that each kind of file takes, in the order given, from an empty warehouse."""
    drop(settings)
    _run(settings, root, "init", "--segment-schema", SITE)
    return {name: median(_run(settings, root, "load", str(path)) for path in paths) for name, paths in files.items()}


def _run(settings: Settings, root: Path, *arguments: str) -> float:
    """Run a command of the version in a folder and return its seconds; rejected events are no failure."""
    environment = os.environ | {
        "PYTHONPATH": str(root),
        "SELLIGENT_DATABASE_URL": settings.database_url or "",
        "SELLIGENT_SCHEMA": settings.schema,
    }
    command = [sys.executable, "-c", "from loader.cli.main import main; main()", *arguments]
    started = time.perf_counter()
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    if done.returncode not in {0, 1}:
        raise SystemExit(f"{root}: {' '.join(arguments)} ended with {done.returncode}: {done.stderr}")
    return time.perf_counter() - started
