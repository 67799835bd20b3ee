"""What the tests of commands have in common."""

from functools import partial
from pathlib import Path

import pytest

from loader.config import Settings
from tests.support.command_line import Run, run_command


@pytest.fixture
def run(settings: Settings, tmp_path: Path) -> Run:
    """Runs a command in a folder of the test's own, with the URL of its database in the environment."""
    return partial(run_command, settings, tmp_path)


@pytest.fixture(scope="session")
def generated(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A small sample."""
    folder = tmp_path_factory.mktemp("sample")
    written = run_command(None, folder, "sample", "--events", "2000", "--seed", "3", "--out", "events.jsonl")
    assert (written.code, written.out, written.err) == (0, "", "")
    return (folder / "events.jsonl").read_bytes()


@pytest.fixture
def events(generated: bytes, tmp_path: Path) -> Path:
    """The small sample, `events.jsonl` in the folder of the test."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(generated)
    return path
