"""Faults of connections, of the server and by other loads: the stored rows stay correct."""

import io
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from loader.cli.main import run
from loader.config import Settings
from loader.crash_points import Step
from loader.errors import DisconnectedError, OutageError, WarehouseError
from loader.migrate import migrate
from loader.pipeline import worker
from loader.pipeline.options import Options
from loader.pipeline.result import LoadResult
from loader.postgres import advisory_locks
from loader.postgres.connection import Warehouse
from loader.sample import ndjson as sample
from tests.support.crash_points import KILLED_AT, at
from tests.support.loading import event as an_event
from tests.support.loading import load, ndjson, one, select, tables
from tests.support.waiting import until
from tests.system.test_crash import INSTALLED, differences, left_behind, stored

EVENTS = 6_000
BAD = b'{"type":"track","event":"Email Opened"}\n{"broken\n'


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "CHUNK_SIZE", 300_000)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two files that share events, each with some invalid lines."""
    path = tmp_path / "events"
    path.mkdir()
    lines = b"".join(sample.lines(EVENTS, seed=3)).splitlines(keepends=True)
    for number, part in enumerate((lines[:4000], lines[2000:])):
        (path / f"{number}.jsonl").write_bytes(b"".join(part[:500]) + BAD + b"".join(part[500:]))
    return path


@pytest.fixture
def expected(settings: Settings, folder: Path) -> dict[str, list[str]]:
    """The content that an undisturbed load stores."""
    clean = Settings(settings.database_url, "clean")
    migrate(clean)
    read(clean, folder)
    return stored(clean)


def read(settings: Settings, folder: Path, retry_for: timedelta = timedelta(seconds=30), **options: Any) -> LoadResult:
    return load(settings, [str(folder)], Options(**{"max_rejects": 100, **options}), retry_for)


def admin(settings: Settings, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
    with psycopg.connect(settings.database_url or "", autocommit=True) as connection:
        cursor = connection.execute(statement.encode(), parameters or None)
        return cursor.fetchall() if cursor.description else []


def terminate(settings: Settings, purpose: str = "load [0-9]+") -> None:
    """Terminate the sessions of loads, as an administrator or a restart does."""
    query = "select pg_terminate_backend(pid, 10000) from pg_stat_activity where datname = current_database()"
    assert admin(settings, f"{query} and application_name ~ %s", f"^selligent-loader {purpose}")


@pytest.mark.slow
def test_a_load_killed_at_any_step_ends_like_one_that_was_not(settings: Settings, folder: Path) -> None:
    moments = [(step, lives) for step in get_args(Step) for lives in ((0, 1) if step.startswith("chunk") else (0,))]
    for number, (step, lives) in enumerate(moments):
        more = (an_event(messageId=f"more{number}", properties={f"p{number}": 1}), {"type": "sing"})
        (folder / f"more{number}.jsonl").write_bytes(ndjson(more))
        command = [sys.executable, "-c", KILLED_AT, f"{step}:{lives}", "load", str(folder), "--max-rejects", "100"]
        done = subprocess.run(
            [*command, "--database-url", str(settings.database_url)], capture_output=True, check=False
        )
        assert done.returncode == -signal.SIGKILL, (step, lives, done.stderr)
    read(settings, folder)
    clean = replace(settings, schema="clean")
    migrate(clean)
    read(clean, folder)
    assert differences(stored(settings), stored(clean)) == {}
    until(lambda: not left_behind(settings), 5)
    assert select(settings, "select from loads where status = 'running'") == []


@pytest.mark.parametrize("step", ["file.opened", "chunk.copied", "chunk.advanced", "chunk.committed", "file.closed"])
def test_a_load_goes_on_when_its_connections_are_lost(
    settings: Settings, folder: Path, expected: dict[str, list[str]], step: Step
) -> None:
    with at(step, lambda: terminate(settings), times=2):
        result = read(settings, folder)
    assert result.status == "ok"
    assert result.counts["events_read"] == sum(1 for path in folder.iterdir() for _ in path.open("rb"))
    assert differences(stored(settings), expected) == {}
    assert {row["status"] for row in select(settings, "select status from files")} == {"done"}


def test_a_refresh_of_the_views_is_done_again_when_its_connection_is_lost(settings: Settings, folder: Path) -> None:
    with at("views.refreshing", lambda: terminate(settings, "refresh")):
        assert run(["load", str(folder), "--max-rejects", "9", "--database-url", str(settings.database_url)]) == 0
    checks = "select array_agg(check_name order by check_name) as checks from load_health where not is_ok"
    assert one(settings, checks) == {"checks": ["discarded values", "rejected events"]}


def test_a_load_waits_for_a_server_that_restarts_as_it_begins(settings: Settings, folder: Path) -> None:
    name = conninfo_to_dict(settings.database_url or "")["dbname"]
    server = make_conninfo(settings.database_url or "", dbname="postgres")

    def allow(word: str) -> None:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f'alter database "{name}" allow_connections {word}'.encode())

    def go_away() -> None:
        allow("false")
        threading.Timer(2, allow, ["true"]).start()

    with at("load.begun", go_away):
        assert read(settings, folder).status == "ok"


def test_what_a_pipe_gave_is_not_lost_with_the_connection(
    settings: Settings, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = b"".join(sample.lines(EVENTS, seed=3))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(data))))
    with at("chunk.copied", lambda: terminate(settings), times=3):
        result = load(settings, ["-"], Options(), timedelta(seconds=30))
    assert result.counts["events_read"] == EVENTS
    assert one(settings, "select count(*) from tracks") == {"count": result.counts["events_loaded"]}


class Cut:
    """A proxy to the database that closes the connection after a commit arrives, before its response is sent."""

    def __init__(self, url: str, cuts: int) -> None:
        self.cuts = cuts
        parameters = conninfo_to_dict(url)
        self._target = str(parameters["host"]), int(str(parameters["port"]))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = make_conninfo(url, port=self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                dropped = threading.Event()
                threading.Thread(target=self._forward, args=(client, server, dropped, True), daemon=True).start()
                threading.Thread(target=self._forward, args=(server, client, dropped, False), daemon=True).start()

    def _forward(self, source: socket.socket, target: socket.socket, dropped: threading.Event, is_up: bool) -> None:
        copied = False
        with suppress(OSError):
            while data := source.recv(65536):
                copied |= is_up and b"from stdin" in data
                if copied and b"COMMIT" in data and self.cuts:
                    self.cuts -= 1
                    dropped.set()
                if not is_up and dropped.is_set():
                    break
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def test_a_commit_without_an_answer_is_not_done_twice(
    settings: Settings, folder: Path, expected: dict[str, list[str]]
) -> None:
    with closing(Cut(settings.database_url or "", cuts=4)) as way:
        result = read(replace(settings, database_url=way.url), folder)
        assert way.cuts == 0
    assert result.status == "ok"
    assert result.counts["events_loaded"] == one(settings, "select count(*) from tracks")["count"]
    assert differences(stored(settings), expected) == {}


def test_a_file_that_another_load_took_over_is_left_to_it(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "events"
    path.write_bytes(b"".join(sample.lines(2_000, seed=3)))
    other = Warehouse(settings)

    def take_over() -> None:
        terminate(settings)
        assert other.try_lock(advisory_locks.FILE, f"{settings.ops}/{path}")

    with closing(other), at("chunk.copied", take_over):
        result = read(settings, path)
    assert (result.left, result.counts["events_loaded"]) == (1, 0)
    assert read(settings, path).counts["events_read"] == 2_000


def test_retries_end_and_the_next_load_goes_on(
    settings: Settings, folder: Path, expected: dict[str, list[str]], caplog: pytest.LogCaptureFixture
) -> None:
    assert settings.database_url
    name = conninfo_to_dict(settings.database_url)["dbname"]
    server = make_conninfo(settings.database_url, dbname="postgres")

    def shut() -> None:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f'alter database "{name}" allow_connections false'.encode())
            connection.execute(
                "select pg_terminate_backend(pid, 9000) from pg_stat_activity where datname = %s", [name]
            )

    with at("chunk.advanced", shut), pytest.raises(DisconnectedError, match="not currently accepting"):
        read(settings, folder, retry_for=timedelta(seconds=1))
    assert "retrying in" in caplog.text
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'alter database "{name}" allow_connections true'.encode())
    assert read(settings, folder).status == "ok"
    assert differences(stored(settings), expected) == {}
    assert one(settings, "select count(*) from loads where error = 'the loader was killed'") == {"count": 1}


@pytest.mark.parametrize("fields", [{"event": "Never Seen"}, {"properties": {"never_seen": 1}}], ids=str)
def test_an_outage_while_tables_change_is_no_fault_of_the_data(
    settings: Settings, folder: Path, fields: dict[str, Any]
) -> None:
    query = "select pg_cancel_backend(pid) from pg_stat_activity where application_name ~ 'load [0-9]+ columns'"
    blocker = psycopg.connect(settings.database_url or "")
    path = folder / "0.jsonl"
    path.write_bytes(json.dumps(an_event(**fields)).encode())

    def cancel() -> None:
        until(lambda: admin(settings, query + " and wait_event_type = 'Lock'"), 20)

    with blocker:
        blocker.execute("select pg_advisory_xact_lock(%s, hashtext('selligent_ops'))", [advisory_locks.SCHEMA])
        thread = threading.Thread(target=cancel)
        thread.start()
        with pytest.raises(OutageError, match="run it again, a load continues where this one ended"):
            read(settings, path)
        thread.join()
    assert one(settings, "select count(*) from rejected_events") == {"count": 0}
    result = read(settings, path)
    assert (result.counts["events_loaded"], result.counts["values_discarded"]) == (1, 0)


def role(settings: Settings) -> Settings:
    """A role without superuser privileges that owns all objects; dropped with the test's database."""
    name = f"nightly_{os.getpid()}_{time.monotonic_ns()}"
    admin(settings, f"create role {name} login password 'first'; grant postgres to {name}")
    url = make_conninfo(settings.database_url or "", user=name, password="first", options="-c role=postgres")
    return replace(settings, database_url=url)


def test_a_password_that_changed_is_told_at_once(settings: Settings, folder: Path) -> None:
    nightly = role(settings)
    name = conninfo_to_dict(nightly.database_url or "")["user"]
    with suppress(psycopg.OperationalError), psycopg.connect(make_conninfo(nightly.database_url or "", password="x")):
        pytest.skip("this server asks for no password")

    def change() -> None:
        admin(settings, f"alter role {name} password 'second'")
        terminate(settings)

    with at("chunk.copied", change), pytest.raises(WarehouseError, match="password authentication failed") as told:
        read(nightly, folder, retry_for=timedelta(minutes=10))
    assert "first" not in str(told.value)
    admin(settings, f"alter role {name} password 'first'")
    assert read(nightly, folder).status == "ok"
    admin(settings, f"drop role {name}")


def test_too_many_connections_are_told(settings: Settings, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nightly = role(settings)
    name = conninfo_to_dict(nightly.database_url or "")["user"]
    admin(settings, f"alter role {name} connection limit 0")
    assert run(["load", str(folder), "--database-url", str(nightly.database_url)]) == 1
    assert "too many connections" in capsys.readouterr().err
    admin(settings, f"alter role {name} connection limit -1")
    assert read(nightly, folder).status == "ok"
    admin(settings, f"drop role {name}")


def test_a_server_that_is_read_only_is_told(
    settings: Settings, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = make_conninfo(settings.database_url or "", options="-c default_transaction_read_only=on")
    assert run(["load", str(folder), "--database-url", url]) == 1
    assert "name the primary in the database url" in capsys.readouterr().err


def test_an_administrator_sees_who_it_is_and_it_waits_for_nothing_forever(settings: Settings, folder: Path) -> None:
    names = "select application_name from pg_stat_activity where datname = current_database() order by 1"
    seen: list[Any] = []
    with at("chunk.copied", lambda: seen.extend(admin(settings, names))):
        load_id = read(settings, folder).load_id
    found = {name for (name,) in seen}
    assert {
        "selligent-loader load",
        f"selligent-loader load {load_id}",
        f"selligent-loader load {load_id} columns",
    } <= found
    with closing(Warehouse(settings)) as warehouse, warehouse.transaction():
        query = "select count(*) from pg_settings where setting = '0' and name = any(%s)"
        timeouts = ["lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout"]
        assert warehouse.fetch(query, timeouts) == [(0,)]


def test_two_loads_of_the_same_files_share_them(
    settings: Settings, folder: Path, expected: dict[str, list[str]]
) -> None:
    results: list[LoadResult] = []
    second = threading.Thread(target=lambda: results.append(read(settings, folder)))

    def begin() -> None:
        second.start()
        until(lambda: results, 60)

    with at("chunk.committed", begin):
        results.append(read(settings, folder))
    assert sorted(result.left for result in results) == [0, 1]
    assert all(result.counts["events_read"] for result in results)
    found = stored(settings)
    assert (
        len(found.pop("counts")) == len(expected.pop("counts")) == 2
    )  # the order of files decides where duplicates are counted
    assert differences(found, expected) == {}


def test_loads_of_different_files_with_the_same_events_store_each_once(settings: Settings, tmp_path: Path) -> None:
    lines = b"".join(sample.lines(20_000, seed=3)).splitlines(keepends=True)
    commands = []
    for number in range(3):
        path = tmp_path / f"{number}.jsonl"
        path.write_bytes(b"".join(random.Random(number).sample(lines, len(lines))))
        commands.append([*INSTALLED, "load", str(path), "--database-url", str(settings.database_url)])
    loads = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for command in commands]
    assert [process.wait(100) for process in loads] == [0, 0, 0]
    clean = replace(settings, schema="clean")
    migrate(clean)
    read(clean, tmp_path / "0.jsonl")
    assert differences(keys(settings), keys(clean)) == {}


def keys(settings: Settings) -> dict[str, list[str]]:
    """Return the keys in each table; which of two duplicates is stored depends on the order of the loads."""
    return {
        table: [str(row) for row in select(settings, f'select id, original_timestamp from "{table}"')]
        for table in tables(settings)
    }


def test_a_load_that_wants_to_be_alone(settings: Settings, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["load", str(folder), "--max-rejects", "100", "--database-url", str(settings.database_url)]
    codes: list[int] = []

    def begin() -> None:
        started = time.monotonic()
        codes.append(run([*command, "--exclusive"]))
        assert time.monotonic() - started < 2

    with at("chunk.copied", begin):
        first = read(settings, folder)
    told = capsys.readouterr().err
    begun = one(settings, "select started_at from loads where load_id = %s", first.load_id)["started_at"]
    assert codes == [4]
    for part in (
        f"load {first.load_id} ",
        socket.gethostname(),
        f"process {os.getpid()}",
        f"{begun:%Y-%m-%d %H:%M:%S}",
    ):
        assert part in told
    with at("load.begun", lambda: codes.append(run(command))):
        read(settings, folder, exclusive=True)
    assert codes == [4, 4]
    assert run([*command, "--exclusive"]) == 0


def test_sources_of_one_database_do_not_wait_for_each_other(settings: Settings, folder: Path) -> None:
    """Uses loads with the same number in two sources."""
    other = replace(settings, schema="other")
    migrate(other)
    path = folder / "0.jsonl"
    with at("load.begun", lambda: read(other, path, exclusive=True)):
        assert read(settings, path, exclusive=True).status == "ok"
