"""The commands `db` and `sample`."""

import json
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import psycopg
import pytest

from loader.postgres import embedded
from tests.conftest import LAST_DAY
from tests.support.command_line import Run, keys, run_command


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path, generated: bytes) -> None:
    other, same = (
        run_command(None, tmp_path, "sample", "--events", "2000", "--seed", seed, "--until", LAST_DAY, "--out", "-")
        for seed in "43"
    )
    assert (same.code, same.err) == (0, "")
    assert same.raw == generated != other.raw
    assert same.raw.count(b"\n") == other.raw.count(b"\n") == 2000


def test_a_sample_ends_yesterday(tmp_path: Path) -> None:
    before = datetime.now(UTC).date()
    written = run_command(None, tmp_path, "sample", "--events", "2000")
    yesterdays = [day - timedelta(days=1) for day in (before, datetime.now(UTC).date())]
    delivered = [json.loads(line)["timestamp"] for line in written.raw.splitlines() if b"Email Delivered" in line]
    assert datetime.fromisoformat(max(delivered)).date() in yesterdays
    assert datetime.fromisoformat(min(delivered)).date() - yesterdays[0] < timedelta(days=-360)
    refused = run_command(None, tmp_path, "sample", "--until", "soon")
    assert (refused.code, refused.out) == (2, "")


def test_a_sample_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    ended = run_command(None, tmp_path, "sample", "--events", "1", "--out", "nowhere/events.jsonl")
    assert ended.code in {1, 2}
    assert "nowhere/events.jsonl" in ended.err
    assert "Traceback" not in ended.err


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A home folder that the server's user can traverse, unlike pytest's folders. Its server is stopped at the end."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        path.chmod(0o711)
        yield path / "home"
        embedded.stop(path / "home")


@pytest.fixture
def run_without_url(home: Path, tmp_path: Path) -> Run:
    """Run a command without a database URL, with a home folder for the embedded server."""
    return partial(run_command, None, tmp_path, SELLIGENT_HOME=str(home))


def test_the_embedded_server_starts_and_tells_its_address(run_without_url: Run, home: Path) -> None:
    begun, again = run_without_url("db", "start"), run_without_url("db", "start")
    server = embedded.running(home)
    assert server
    assert (begun.code, again.code, begun.out) == (0, 0, again.out)
    assert f"PostgreSQL runs on 127.0.0.1:{server.port}, database selligent" in begun.out
    assert server.password not in begun.out + begun.err
    url = run_without_url("db", "url")
    assert (url.code, url.out) == (0, f"{server.url}\n")
    with psycopg.connect(url.out.strip()) as connection:
        assert connection.execute("select current_database()").fetchone() == ("selligent",)


@pytest.mark.parametrize("arguments", [("--", "-Atc", "select 6 * 7"), ("-At", "-c", "select 6 * 7")], ids=" ".join)
def test_psql_gets_its_arguments(run_without_url: Run, arguments: tuple[str, ...]) -> None:
    assert run_without_url("db", "start").code == 0
    asked = run_without_url("db", "psql", *arguments)
    assert (asked.code, asked.out, asked.err) == (0, "42\n", "")


def test_psql_reads_standard_input_and_gives_its_exit_code(run_without_url: Run) -> None:
    assert run_without_url("db", "start").code == 0
    assert run_without_url("db", "psql", "--", "-At", stdin=b"select 6 * 7;\n").out == "42\n"
    assert run_without_url("db", "psql", "--", "-c", "select nothing").code == 1


def test_without_a_url_everything_goes_to_the_embedded_server(run_without_url: Run, events: Path) -> None:
    run_without_url("db", "stop")
    assert "is created" in run_without_url("init").out
    loaded = run_without_url("load", "events.jsonl")
    rows = keys(events.read_bytes())
    assert (loaded.code, f"loaded {rows:,} of 2,000 events" in loaded.out) == (0, True)
    counted = run_without_url("db", "psql", "--", "-Atc", "select count(*) from selligent.tracks")
    assert counted.out == f"{rows}\n"
    status = json.loads(run_without_url("status", "--json").out)
    assert {row["table"]: row["rows"] for row in status["collections"]}["tracks"] == rows


def test_the_embedded_server_stops(run_without_url: Run, home: Path) -> None:
    assert run_without_url("db", "start").code == 0
    ended = [run_without_url("db", "stop") for _ in range(2)]
    assert [(stopped.code, stopped.out) for stopped in ended] == [(0, "stopped\n"), (0, "it was not running\n")]
    assert embedded.running(home) is None
    for arguments in (("url",), ("psql", "--", "-c", "select 1")):
        missing = run_without_url("db", *arguments)
        assert (missing.code, missing.out) == (1, "")
        assert missing.err == "error: the embedded server is not running; start it with `selligent-loader db start`\n"
