"""Loaders of several machines share files; what one leaves when it is killed is taken over by another at once."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from loader.config import Settings
from tests.support.command_line import environment
from tests.support.crash_points import KILLED_AT
from tests.support.loading import one, select
from tests.system.test_crash import INSTALLED

FILES, LINES = 40, 50


@pytest.fixture
def folder(generated: bytes, tmp_path: Path) -> Path:
    """A folder with many small files, whose neighbours share an event."""
    path = tmp_path / "files"
    path.mkdir()
    lines = generated.splitlines(keepends=True)
    for n in range(FILES):
        (path / f"{n:02}.jsonl").write_bytes(b"".join(lines[n * LINES : (n + 1) * LINES + 1]))
        os.utime(path / f"{n:02}.jsonl", (0, 0))
    return path


def start(command: Sequence[str], settings: Settings, folder: Path, machine: str) -> "subprocess.Popen[bytes]":
    """Start a load with a home of its own, as if on another machine."""
    variables = environment(settings, SELLIGENT_HOME=str(folder.parent / machine), PYTHONPATH=".")
    arguments = [*command, "load", str(folder), "--no-refresh", "--json"]
    return subprocess.Popen(arguments, env=variables, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


@pytest.mark.slow
def test_loaders_share_files_and_take_over_those_of_a_killed_one(settings: Settings, folder: Path) -> None:
    killed = start([sys.executable, "-c", KILLED_AT, "chunk.advanced:3"], settings, folder, "killed")
    others = [start(INSTALLED, settings, folder, f"machine{n}") for n in range(2)]
    results = [json.loads(process.communicate(timeout=120)[0]) for process in others]
    killed.communicate(timeout=120)
    assert [process.returncode for process in (killed, *others)] == [-signal.SIGKILL, 0, 0]
    last = start(INSTALLED, settings, folder, "last")
    results.append(json.loads(last.communicate(timeout=120)[0]))
    assert last.returncode == 0
    done = select(settings, "select uri from files where status = 'done'")
    assert len(done) == len({row["uri"] for row in done}) == FILES
    counts = one(settings, "select sum(events_read) as read, sum(events_loaded) as loaded from files")
    assert counts["read"] == FILES * (LINES + 1) - 1  # the last file has no neighbour
    assert one(settings, "select count(*) from tracks") == {"count": counts["loaded"]}
    assert sum(result["files"] for result in results) >= FILES - 4
