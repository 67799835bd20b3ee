"""Status during loads, with read-only privileges."""

import json
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from loader.config import Settings
from loader.monitoring.freshness import read_freshness
from loader.monitoring.status import read_status
from loader.postgres import advisory_locks
from loader.postgres.connection import Warehouse
from loader.sample import ndjson as sample
from loader.schema.source import newest_revision
from tests.support.command_line import committed, started
from tests.support.loading import event, load_events, one, select
from tests.support.waiting import until


@pytest.fixture
def reader(settings: Settings) -> Iterator[Settings]:
    """Settings of a role that has read privileges only."""
    assert settings.database_url
    role = f"reader_{uuid4().hex[:8]}"
    with psycopg.connect(settings.database_url, autocommit=True) as connection:
        script = """
            create role {role} login password 'reading';
            grant usage on schema selligent, selligent_ops to {role};
            grant select on all tables in schema selligent, selligent_ops to {role};
            alter default privileges in schema selligent grant select on tables to {role};
        """
        connection.execute(sql.SQL(script).format(role=sql.Identifier(role)))
        place = conninfo_to_dict(settings.database_url)
        yield Settings(make_conninfo("", **{**place, "user": role, "password": "reading"}), settings.schema)
        connection.execute(sql.SQL("drop owned by {role}; drop role {role}").format(role=sql.Identifier(role)))


def test_status_works_during_a_load_with_rights_to_read_only(
    settings: Settings, reader: Settings, tmp_path: Path
) -> None:
    lines = b"".join(sample.lines(20_000, seed=7))
    with started(settings, tmp_path, "load", "-") as process:
        assert process.stdin
        process.stdin.write(lines)
        process.stdin.flush()
        until(lambda: committed(settings))
        with closing(Warehouse(reader)) as warehouse:
            status = json.loads(json.dumps(read_status(warehouse), default=str))
        process.stdin.close()
        assert process.wait(60) == 0
        ((running,), locks) = status["running"], status["locks"]
        assert (running["load_id"], running["kind"], running["is_alive"]) == (1, "files", True)
        assert (running["host"], running["process"]) == (socket.gethostname(), process.pid)
        assert (running["uri"], running["size"], running["files_done"]) == ("-", None, 0)
        assert 0 < running["events_read"] <= 20_000
        assert running["position"] > 0 < running["events_per_second"]
        held = {(lock["lock"], lock["uri"] or lock["load_id"]): lock for lock in locks}
        assert {("load", 1), ("file", "-")} <= held.keys()
        for lock in held.values():
            assert (lock["is_granted"], lock["process"]) == (True, process.pid)
            assert lock["application"].startswith("selligent-loader")
        tracks = next(row for row in status["collections"] if row["table"] == "tracks")
        assert tracks["rows"] > 0
    with closing(Warehouse(reader)) as warehouse:
        ended = read_status(warehouse)
    assert (ended["running"], ended["locks"]) == ([], [])
    assert ended["loads"][0]["status"] == "ok"


def test_a_killed_load_is_told_from_one_that_runs(settings: Settings, tmp_path: Path) -> None:
    with started(settings, tmp_path, "load", "-") as process:
        until(lambda: select(settings, "select from files"))
        process.kill()
        process.wait()
        database = "select from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
        until(lambda: not select(settings, database))
    with closing(Warehouse(settings)) as warehouse:
        status = read_status(warehouse)
        with warehouse.transaction():  # the lock of a load with another key, as of another source
            warehouse.fetch("select pg_advisory_xact_lock(%s, 77)", advisory_locks.LOAD)
            with closing(Warehouse(settings)) as other:
                assert [load["is_alive"] for load in read_status(other)["running"]] == [False]
    assert [(load["load_id"], load["is_alive"]) for load in status["running"]] == [(1, False)]
    assert status["locks"] == []


def test_the_last_loads_of_every_kind_are_shown(settings: Settings) -> None:
    add = """
        insert into selligent_ops.loads (kind, status, host, pid, version, finished_at)
        select kind, 'ok', 'here', 1, '0', now() from unnest(%s::text[]) as kind
    """
    assert settings.database_url
    with psycopg.connect(settings.database_url) as connection:
        connection.execute(add, [["replay"] + ["files"] * 30])
    with closing(Warehouse(settings)) as warehouse:
        status = read_status(warehouse)
    kinds = [load["kind"] for load in status["loads"]]
    assert kinds == ["files"] * 10 + ["replay"]
    assert [row["version"] for row in status["schema"]] == [newest_revision()]


def test_rows_of_large_tables_are_estimated_and_named_so(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_events(settings, [event(messageId=f"m{n}") for n in range(50)], tmp_path)
    assert settings.database_url
    with closing(Warehouse(settings)) as warehouse:
        for limit, estimate, rows in [(64 << 20, False, 50), (0, True, 700)]:
            with psycopg.connect(settings.database_url) as connection:
                connection.execute("analyze selligent.tracks")
                connection.execute("update pg_class set reltuples = 700 where relname = 'tracks'")
            monkeypatch.setattr("loader.monitoring.freshness.MAX_COUNTED_BYTES", limit)
            with warehouse.snapshot():
                found = next(table for table in read_freshness(warehouse) if table.table == "tracks")
            assert (found.is_estimate, found.rows) == (estimate, rows)
    newest = one(settings, "select max(timestamp) as event, max(uuid_ts) as load from tracks")
    assert (found.newest_event, found.newest_load) == (newest["event"], newest["load"])


def test_the_newest_load_is_found_of_events_that_come_late(settings: Settings, tmp_path: Path) -> None:
    for name, year in (("new", 2025), ("late", 2024)):
        at = f"{year}-01-01T00:00:00.000Z"
        fields = {"originalTimestamp": at, "timestamp": at, "receivedAt": at, "sentAt": at}
        load_events(settings, [event(messageId=f"{name}{n}", **fields) for n in range(1500)], tmp_path, name)
    with closing(Warehouse(settings)) as warehouse, warehouse.snapshot():
        found = {table.table: table for table in read_freshness(warehouse)}
    newest = one(settings, "select max(timestamp) as event, max(uuid_ts) as load from email_opened")
    assert (found["email_opened"].newest_event, found["email_opened"].newest_load) == (newest["event"], newest["load"])
    assert (found["email_bounced"].newest_event, found["email_bounced"].newest_load) == (None, None)
