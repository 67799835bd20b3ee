"""The command line, run as a user runs it: the installed command, its output, its exit code."""

import gzip
import json
import os
import pty
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

import click
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from loader.cli.main import commands
from loader.config import Settings
from loader.postgres import embedded
from loader.sample import ndjson as sample
from loader.version import __version__
from tests.loading import content, event, ndjson, one, select
from tests.waiting import until

COMMAND = str(Path(sys.executable).with_name("selligent-loader"))
#: All that a command gets of our environment: nothing that names a database, nothing that colours what is printed.
KEPT = ("PATH", "HOME", "TMPDIR", "PYTHONPATH")
SIGNALS = (signal.SIGTERM, signal.SIGINT)
SECRET = "wr0ng-Secret"
#: Nobody listens there.
AWAY = f"postgresql://ada:{SECRET}@127.0.0.1:1/warehouse"
CONTROL = re.compile(r"[^\t\n -~\u00a0-\U0010ffff]")
KEYS = {
    *("load_id", "status", "files", "tables", "seconds", "values_discarded"),
    *("events_read", "events_loaded", "events_duplicate", "events_rejected", "events_ignored", "events_suppressed"),
}
#: A line that is no event and no text, with all that a careless reader would change.
BROKEN = b'\xff\xfe \r{"event":\0\t"\x1b[31m  '


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    code: int
    raw: bytes
    err: str

    @property
    def out(self) -> str:
        return self.raw.decode()


Run = Callable[..., Ended]


def environment(settings: Settings | None, **variables: str) -> dict[str, str]:
    """The variables of a user of a database; without one the embedded server has no home unless they name it."""
    given = {"SELLIGENT_HOME": os.devnull}
    if settings and settings.database_url:
        given["SELLIGENT_DATABASE_URL"] = settings.database_url
    return {name: os.environ[name] for name in KEPT if name in os.environ} | given | variables


def run_command(
    settings: Settings | None, folder: Path, *arguments: str, stdin: bytes = b"", **variables: str
) -> Ended:
    done = subprocess.run(
        [COMMAND, *arguments],
        input=stdin,
        cwd=folder,
        env=environment(settings, **variables),
        capture_output=True,
        timeout=60,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr.decode())


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


def keys(data: bytes) -> int:
    """The number of rows events become: one for each of their keys."""
    lines = ((line, json.loads(line)) for line in data.splitlines())
    return len({(item.get("messageId") or line, item.get("originalTimestamp")) for line, item in lines})


def names(group: click.Group, *parents: str) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        yield (*parents, name)
        if isinstance(command, click.Group):
            yield from names(command, *parents, name)


@pytest.mark.parametrize("command", [(), *names(commands)], ids=" ".join)
def test_every_command_has_help_and_those_at_the_top_an_example(tmp_path: Path, command: tuple[str, ...]) -> None:
    shown = run_command(None, tmp_path, *command, "--help")
    assert (shown.code, shown.err) == (0, "")
    assert f"Usage: {' '.join(['selligent-loader', *command])}" in shown.out
    if len(command) < 2:
        assert re.search(rf"\n  Examples?:\n    selligent-loader {' '.join(command)}", shown.out)


def test_the_version_is_told(tmp_path: Path) -> None:
    assert run_command(None, tmp_path, "--version").out == f"selligent-loader, version {__version__}\n"


def test_init_says_what_it_did_and_what_to_do_next(run: Run) -> None:
    first, second = run("init", "--schema", "other"), run("init", "--schema", "other")
    assert (first.code, second.code) == (0, 0)
    assert re.fullmatch(r"schema 'other' is made, version \d{4}\nnext: selligent-loader load PATH\n", first.out)
    assert second.out == "schema 'other' is up to date\nnext: selligent-loader load PATH\n"


def test_init_prints_json(run: Run) -> None:
    first, second = (json.loads(run("init", "--json", "--schema", "other").out) for _ in range(2))
    assert first == {"schema": "other", "from": None, "to": second["to"]}
    assert second == {"schema": "other", "from": second["to"], "to": second["to"]}


def test_migrate_says_what_it_did(run: Run) -> None:
    assert run("migrate").out == "schema 'selligent' is up to date\n"


def test_the_schema_can_come_from_the_environment(run: Run, settings: Settings) -> None:
    assert json.loads(run("init", "--json", SELLIGENT_SCHEMA="newsletters").out)["schema"] == "newsletters"
    assert select(settings, "select from pg_namespace where nspname = 'newsletters_ops'")


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path, generated: bytes) -> None:
    other, same = (
        run_command(None, tmp_path, "sample", "--events", "2000", "--seed", seed, "--out", "-") for seed in "43"
    )
    assert (same.code, same.err) == (0, "")
    assert same.raw == generated != other.raw
    assert same.raw.count(b"\n") == other.raw.count(b"\n") == 2000


def test_a_sample_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    ended = run_command(None, tmp_path, "sample", "--events", "1", "--out", "nowhere/events.jsonl")
    assert ended.code in {1, 2}
    assert "nowhere/events.jsonl" in ended.err
    assert "Traceback" not in ended.err


def test_a_load_prints_the_rows_of_each_table_and_a_summary(run: Run, settings: Settings, events: Path) -> None:
    loaded = run("load", "events.jsonl")
    assert loaded.code == 0
    rows = {table: len(stored) for table, stored in content(settings).items() if stored}
    assert rows["tracks"] == keys(events.read_bytes())
    printed = dict(re.findall(r"^(\w+) +([\d,]+)$", loaded.out, re.M))
    assert {table: int(count.replace(",", "")) for table, count in printed.items()} == rows
    summary = rf"^loaded {rows['tracks']:,} of 2,000 events from 1 file in \d+\.\d s \([\d,]+ events/s\)$"
    assert re.search(summary, loaded.out, re.M)
    assert f"{2000 - rows['tracks']:,} duplicates" in loaded.out


def test_what_goes_into_a_pipe_has_no_control_characters(run: Run, events: Path) -> None:
    with events.open("ab") as file:
        file.write(BROKEN + b"\n")
    for arguments in ["load --verbose events.jsonl", "load events.jsonl", "status", "rejects list", "load nothing"]:
        ended = run(*arguments.split())
        assert ended.out + ended.err
        assert CONTROL.findall(ended.out + ended.err) == [], arguments


def test_a_load_prints_one_json_object(run: Run, settings: Settings, events: Path) -> None:
    loaded = run("load", "--json", "events.jsonl")
    assert (loaded.code, loaded.err, loaded.out.count("\n")) == (0, "", 1)
    result = json.loads(loaded.out)
    assert result.keys() >= KEYS
    assert (result["status"], result["files"], result["events_read"]) == ("ok", 1, 2000)
    assert result["events_loaded"] == result["tables"]["tracks"] == keys(events.read_bytes())
    assert one(settings, "select status, events_loaded from loads where load_id = %s", result["load_id"]) == {
        "status": "ok",
        "events_loaded": result["events_loaded"],
    }


def test_a_load_with_nothing_to_do_is_no_failure(run: Run, events: Path) -> None:
    assert run("load", "events.jsonl").code == 0
    again = run("load", "events.jsonl")
    assert (again.code, again.out) == (
        0,
        "nothing to do: every file has been loaded before (--again reads them again)\n",
    )
    assert json.loads(run("load", "events.jsonl", "--json").out)["status"] == "empty"


def test_a_dry_run_says_what_would_be(run: Run, settings: Settings, events: Path) -> None:
    before = content(settings)
    dry = run("load", "--dry-run", "events.jsonl")
    rows = keys(events.read_bytes())
    assert dry.code == 0
    assert f"would load {rows:,} of 2,000 events from 1 file" in dry.out
    assert "email_machine_opened" not in before
    assert re.search(r"^CREATE TABLE IF NOT EXISTS selligent\.email_machine_opened", dry.out, re.M)
    assert (content(settings), select(settings, "select * from loads")) == (before, [])
    assert json.loads(run("load", "--dry-run", "--json", "events.jsonl").out)["load_id"] is None


def test_files_beside_a_missing_one_are_loaded(run: Run, settings: Settings, events: Path) -> None:
    ended = run("load", "missing.jsonl", "events.jsonl")
    assert (ended.code, ended.err) == (1, "error: 'missing.jsonl' does not exist; check the path [load 1]\n")
    assert one(settings, "select count(*) from tracks") == {"count": keys(events.read_bytes())}


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_standard_input_is_loaded(run: Run, settings: Settings, events: Path, pack: Callable[[bytes], bytes]) -> None:
    loaded = run("load", "-", stdin=pack(events.read_bytes()))
    assert (loaded.code, loaded.err) == (0, "")
    assert one(settings, "select count(*) from tracks") == {"count": keys(events.read_bytes())}


def test_standard_input_is_read_each_time(run: Run, settings: Settings) -> None:
    for number in range(3):
        assert "loaded 1 of 1 events" in run("load", "-", stdin=ndjson([event(messageId=f"m{number}")])).out
    assert one(settings, "select count(*) from tracks") == {"count": 3}


def test_several_processes_take_files_of_their_own(run: Run, settings: Settings, events: Path) -> None:
    lines = events.read_bytes().splitlines(keepends=True)
    for number in range(3):
        (events.parent / f"part-{number}.jsonl").write_bytes(b"".join(lines[number::3]))
    loaded = run("load", "--jobs", "2", "part-*.jsonl")
    assert (loaded.code, loaded.err) == (0, "")
    assert one(settings, "select count(*) from tracks") == {"count": keys(events.read_bytes())}


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        ("load missing.jsonl", 1, "error: 'missing.jsonl' does not exist"),
        ("load *.missing", 1, "error: '*.missing' matches no files"),
        ("load events.jsonl --nonsense", 2, "No such option"),
        ("load events.jsonl --jobs 0", 2, "--jobs"),
        ("load", 2, "Missing argument 'PATH...'"),
        ("unload", 2, "No such command 'unload'"),
        ("load events.jsonl --schema elsewhere", 2, "error: schema 'elsewhere' is not prepared; run `selligent-loader"),
        ("status --schema elsewhere", 2, "error: schema 'elsewhere' is not prepared"),
        ("rejects list --schema elsewhere", 2, "error: schema 'elsewhere' is not prepared"),
        ("init --schema 100%", 2, "error: schema '100%' cannot be used"),
        ("load events.jsonl --schema 100%", 2, "error: schema '100%' cannot be used"),
        ("rejects show 77", 2, "error: there is no reject 77"),
        ("rejects show x", 2, "'x' is not a valid integer"),
        (f"load events.jsonl --database-url {AWAY}", 1, "error: the database cannot be reached"),
        ("load events.jsonl --database-url postgresql://ada:a@b@c/d", 2, "error: the database url cannot be read"),
    ],
)
def test_what_is_wrong_is_told_on_standard_error(run: Run, events: Path, command: str, code: int, message: str) -> None:
    ended = run(*command.split())
    assert (ended.code, ended.out) == (code, "")
    assert message.lower() in ended.err.lower()
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    ("command", "code"), [("load missing.jsonl", 1), ("status --schema elsewhere", 2), ("rejects show 77", 2)]
)
def test_what_is_wrong_is_told_as_json_too(run: Run, command: str, code: int) -> None:
    ended = run(*command.split(), "--json")
    assert (ended.code, ended.out.count("\n")) == (code, 1)
    told = json.loads(ended.out)
    assert (told["status"], ended.err) == ("failed", f"error: {told['error']}\n")


@pytest.mark.parametrize(("allowed", "code", "status"), [(0, 3, "partial"), (1, 3, "partial"), (2, 0, "ok")])
def test_rejects_above_a_limit_have_an_exit_code(run: Run, allowed: int, code: int, status: str) -> None:
    data = ndjson([event()]) + BROKEN + b"\n{}\n"
    ended = run("load", "-", "--json", "--max-rejects", str(allowed), stdin=data)
    assert (ended.code, json.loads(ended.out)["status"]) == (code, status)
    assert json.loads(ended.out)["events_rejected"] == 2


@pytest.mark.parametrize(
    "command",
    [
        "load events.jsonl",
        "load events.jsonl --verbose",
        "load events.jsonl --json",
        "init --verbose --json",
        "status --verbose --json",
        "rejects list --verbose --json",
    ],
)
def test_a_wrong_password_is_shown_nowhere(run: Run, settings: Settings, events: Path, command: str) -> None:
    place = conninfo_to_dict(settings.database_url or "")
    url = f"postgresql://{place['user']}:{SECRET}@{place['host']}:{place.get('port', 5432)}/{place['dbname']}"
    ended = run(*command.split(), SELLIGENT_DATABASE_URL=url)
    assert (ended.code, "password authentication failed" in ended.err) == (1, True)
    assert SECRET not in ended.out + ended.err


@pytest.mark.parametrize(
    "url",
    [
        AWAY,
        f"postgresql://ada:{SECRET}@host@127.0.0.1:1/warehouse",
        f"postgresql://ada:{SECRET}@127.0.0.1:port/warehouse",
        f"postgresql://ada:{SECRET}%zz@127.0.0.1:1/warehouse",
        f"postgresql://ada:{SECRET}/@127.0.0.1:1/warehouse",
        f"postgresql://ada:{SECRET}@127.0.0.1:1/warehouse?nonsense=1",
        f"mysql://ada:{SECRET}@127.0.0.1:1/warehouse",
        f"host=127.0.0.1 port=1 password='{SECRET}",
        SECRET,
    ],
)
def test_a_url_that_leads_nowhere_does_not_give_its_password_away(run: Run, events: Path, url: str) -> None:
    ended = run("load", "events.jsonl", "--verbose", "--json", "--database-url", url)
    assert (ended.code in {1, 2}, "Traceback" in ended.err) == (True, False)
    assert SECRET not in ended.out + ended.err


def test_the_right_password_is_shown_nowhere(run: Run, settings: Settings, events: Path) -> None:
    password = str(conninfo_to_dict(settings.database_url or "")["password"])
    ended = run("load", "--verbose", "events.jsonl")
    assert "reading" in ended.err
    assert password not in ended.out + ended.err


def test_a_reject_is_shown_byte_for_byte(run: Run) -> None:
    assert run("load", "-", stdin=ndjson([event()]) + BROKEN + b"\n").code == 3
    (found,) = json.loads(run("rejects", "list", "--json").out)["rejects"]
    assert (found["uri"], found["line"], found["reason"]) == ("-", 2, "not_utf8")
    shown = run("rejects", "show", str(found["rejected_id"]))
    assert (shown.code, shown.raw) == (0, BROKEN)
    assert "reason: not_utf8" in shown.err


def test_rejects_are_listed_the_newest_first(run: Run) -> None:
    assert run("rejects", "list").out == "no event has been rejected\n"
    run("load", "-", stdin=b"5\n{}\n6\n")
    listed = run("rejects", "list")
    assert listed.code == 0
    assert re.findall(r"\b(not_object|no_type)\b", listed.out) == ["not_object", "no_type", "not_object"]
    newest = json.loads(run("rejects", "list", "--json", "--limit", "2").out)["rejects"]
    assert [row["rejected_id"] for row in newest] == [3, 2]


def test_names_are_printed_as_they_are(run: Run, tmp_path: Path) -> None:
    name = "[bold] :bell: events.jsonl"
    strange = [{"engagement_score": "high", "[/] :bell:": score} for score in (1, "one")]
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / name).write_bytes(
        ndjson([event(messageId=f"m{n}", properties=properties) for n, properties in enumerate(strange)]) + b"5\n"
    )
    assert run("load", "folder").code == 3
    listed, status = run("rejects", "list"), run("status")
    assert (listed.code, status.code) == (0, 0)
    assert name in listed.out
    assert "[/] :bell:" in status.out


def test_status_shows_loads_collections_rejects_and_discards(run: Run, settings: Settings, events: Path) -> None:
    with events.open("ab") as file:
        file.write(b"5\n")
    run("load", "events.jsonl")
    ended = run("status")
    assert ended.code == 0
    titles = ["schema", "collections", "loads", "rejects", "discards", "discard_reasons"]
    assert [line for line in map(str.rstrip, ended.out.splitlines()) if line in titles] == titles
    told = json.loads(run("status", "--json").out)
    assert [title for title in told if told[title]] == titles
    assert {row["table"]: row["rows"] for row in told["collections"]} == {
        table: len(rows) for table, rows in content(settings).items()
    }
    assert [(row["load_id"], row["status"], row["events_read"]) for row in told["loads"]] == [(1, "partial", 2001)]
    assert told["rejects"] == [{"reason": "not_object", "events": 1}]
    assert sum(row["values"] for row in told["discards"]) == len(select(settings, "select from discarded_values")) > 0


def test_the_status_of_an_empty_schema_is_no_failure(run: Run) -> None:
    told = json.loads(run("status", "--json").out)
    assert (told["loads"], told["rejects"], told["discards"]) == ([], [], [])
    assert run("status").code == 0


@contextmanager
def started(settings: Settings, folder: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command with a pipe to its standard input, in a process group of its own; killed if it has not ended."""
    with (folder / "said").open("wb") as said:  # no pipe, which a process left behind would hold open
        process = subprocess.Popen(
            [COMMAND, *arguments],
            cwd=folder,
            env=environment(settings),
            stdin=subprocess.PIPE,
            stdout=said,
            stderr=said,
            start_new_session=True,
            # A shell's background jobs, which may run these tests, are deaf to Ctrl-C.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
    with process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def end(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Send a signal, as Ctrl-C to the whole group, and wait for the end."""
    (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
    process.wait(10)


def sessions(settings: Settings) -> list[Any]:
    """The sessions of loaders in a database."""
    query = """
        select state, wait_event_type, query from pg_stat_activity
        where datname = current_database() and application_name ~ '^selligent-loader'
    """
    return select(settings, query)


def opened(settings: Settings) -> int:
    return len(select(settings, "select from files"))


def committed(settings: Settings) -> int:
    return int(one(settings, "select coalesce(sum(events_read), 0)::bigint as count from files")["count"])


def waiting(settings: Settings) -> int:
    """The number of loaders that wait for a lock."""
    return sum(session["wait_event_type"] == "Lock" for session in sessions(settings))


@contextmanager
def started_in_pipe(settings: Settings, folder: Path, data: bytes) -> Iterator[subprocess.Popen[bytes]]:
    """A load that has read most of what a pipe gives, and waits for more."""
    with started(settings, folder, "load", "-") as process:
        pipe = cast(IO[bytes], process.stdin)
        pipe.write(data)  # more than a pipe holds
        pipe.flush()
        yield process


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
@pytest.mark.parametrize(("count", "reached"), [(3_000, opened), (16_000, committed)])
def test_a_load_from_a_pipe_can_be_interrupted(
    run: Run,
    settings: Settings,
    tmp_path: Path,
    number: signal.Signals,
    count: int,
    reached: Callable[[Settings], int],
) -> None:
    data = b"".join(sample.lines(count, seed=7))
    with started_in_pipe(settings, tmp_path, data) as process:
        until(lambda: reached(settings))
        end(process, number)
        until(lambda: not sessions(settings), 2)
    check_interrupted(settings, tmp_path, process.returncode)
    check_rest(run, settings, tmp_path, data)


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_load_that_waits_for_a_lock_can_be_interrupted(
    run: Run, settings: Settings, tmp_path: Path, generated: bytes, number: signal.Signals, jobs: int
) -> None:
    assert settings.database_url
    middle = generated.index(b"\n", len(generated) // 2) + 1
    (tmp_path / "a.jsonl").write_bytes(generated[:middle])
    (tmp_path / "b.jsonl").write_bytes(generated[middle:])
    with psycopg.connect(settings.database_url) as holder:
        holder.execute("lock table selligent.tracks in share mode")
        with started(settings, tmp_path, "load", "a.jsonl", "b.jsonl", "--jobs", str(jobs)) as process:
            until(lambda: waiting(settings) == jobs)
            end(process, number)
            holder.rollback()
            until(lambda: not sessions(settings), 2)
    check_interrupted(settings, tmp_path, process.returncode)
    check_rest(run, settings, tmp_path, generated)


def check_interrupted(settings: Settings, folder: Path, code: int) -> None:
    said = (folder / "said").read_text("utf-8")
    assert "error: interrupted; the next load continues where this one ended" in said
    assert "Traceback" not in said
    assert (code, "Fatal Python error" in said) == (1, False)
    assert one(settings, "select status, error from loads") == {"status": "failed", "error": "interrupted"}


def check_rest(run: Run, settings: Settings, folder: Path, data: bytes) -> None:
    """Load the same content from a file, and find every row once."""
    (folder / "whole.jsonl").write_bytes(data)
    before = one(settings, "select count(*) from tracks")["count"]
    loaded = run("load", "whole.jsonl", "--json")
    assert (loaded.code, json.loads(loaded.out)["events_loaded"]) == (0, keys(data) - before)
    assert one(settings, "select count(*) from tracks") == {"count": keys(data)}


def test_the_ledger_of_an_interrupted_load_counts_what_was_committed(settings: Settings, tmp_path: Path) -> None:
    data = b"".join(sample.lines(16_000, seed=7))
    with started_in_pipe(settings, tmp_path, data) as process:
        until(lambda: committed(settings))
        end(process, signal.SIGTERM)
    assert one(settings, "select events_read from loads") == {"events_read": committed(settings)}


def run_on_terminal(settings: Settings, folder: Path, *arguments: str, piped: bool) -> tuple[int, str, str]:
    """Run a command on a terminal; return its exit code, its standard output if piped, what the terminal got."""
    terminal, end = pty.openpty()
    with subprocess.Popen(
        [COMMAND, *arguments],
        cwd=folder,
        env=environment(settings, TERM="xterm"),
        stdin=end,
        stdout=subprocess.PIPE if piped else end,
        stderr=end,
        start_new_session=True,
    ) as process:
        os.close(end)
        shown = b"".join(iter(partial(read_terminal, terminal), b""))
        out = process.stdout.read() if process.stdout else b""
        code = process.wait(60)
    os.close(terminal)
    return code, out.decode(), shown.decode()


def read_terminal(terminal: int) -> bytes:
    with suppress(OSError):  # how Linux says that nobody has the other end open
        return os.read(terminal, 1 << 16)
    return b""


def test_on_a_terminal_progress_goes_to_standard_error(settings: Settings, tmp_path: Path, events: Path) -> None:
    code, out, shown = run_on_terminal(settings, tmp_path, "load", "events.jsonl", piped=True)
    assert (code, CONTROL.findall(out)) == (0, [])
    assert "loaded" in out
    assert "loaded" not in shown
    assert "\x1b[" in shown
    assert re.search(r"100%.*2,000 events, [\d,]+/s", shown)


def test_a_load_on_a_terminal_ends_with_its_summary(settings: Settings, tmp_path: Path, events: Path) -> None:
    code, _, shown = run_on_terminal(settings, tmp_path, "load", "events.jsonl", piped=False)
    assert code == 0
    assert re.search(r"loaded [\d,]+ of 2,000 events from 1 file", shown)


def test_a_reject_on_a_terminal_ends_its_line(run: Run, settings: Settings, tmp_path: Path) -> None:
    run("load", "-", stdin=b"5\n")
    assert run_on_terminal(settings, tmp_path, "rejects", "show", "1", piped=False)[2].endswith("\r\n5\r\n")


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A home that the server's user can pass, unlike pytest's own folders; its server is stopped in the end."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        path.chmod(0o711)
        yield path / "home"
        embedded.stop(path / "home")


@pytest.fixture
def run_without_url(home: Path, tmp_path: Path) -> Run:
    """Runs a command with nothing but a home for the embedded server."""
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
    assert "is made" in run_without_url("init").out
    loaded = run_without_url("load", "events.jsonl")
    rows = keys(events.read_bytes())
    assert (loaded.code, f"loaded {rows:,} of 2,000 events" in loaded.out) == (0, True)
    counted = run_without_url("db", "psql", "--", "-Atc", "select count(*) from selligent.tracks")
    assert counted.out == f"{rows}\n"
    told = json.loads(run_without_url("status", "--json").out)
    assert {row["table"]: row["rows"] for row in told["collections"]}["tracks"] == rows


def test_the_embedded_server_stops(run_without_url: Run, home: Path) -> None:
    assert run_without_url("db", "start").code == 0
    ended = [run_without_url("db", "stop") for _ in range(2)]
    assert [(stopped.code, stopped.out) for stopped in ended] == [(0, "stopped\n"), (0, "it was not running\n")]
    assert embedded.running(home) is None
    for arguments in (("url",), ("psql", "--", "-c", "select 1")):
        missing = run_without_url("db", *arguments)
        assert (missing.code, missing.out) == (1, "")
        assert missing.err == "error: the embedded server does not run; start it with `selligent-loader db start`\n"
