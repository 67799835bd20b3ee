"""Upkeep: what has grown is analyzed by the load itself; what has hardly grown, or is in use, is not."""

from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from loader.config import Settings
from loader.pipeline.load import analyze
from loader.postgres import advisory_locks
from loader.postgres.connection import Warehouse
from tests.loading import event, load_events, one, select


def estimate(settings: Settings, table: str) -> float:
    """How many rows the planner thinks there are; -1 if it has never looked."""
    query = "select reltuples::float8 as rows from pg_class where oid = to_regclass(%s)"
    return float(one(settings, query, f"selligent.{table}")["rows"])


@pytest.fixture(autouse=True)
def without_autovacuum(settings: Settings) -> None:
    assert settings.database_url
    with psycopg.connect(settings.database_url) as connection:
        for table in ("tracks", "email_opened", "email_bounced"):
            connection.execute(f"alter table selligent.{table} set (autovacuum_enabled = false)")


def load(settings: Settings, tmp_path: Path, name: str, count: int) -> None:
    load_events(settings, [event(messageId=f"{name}{n}") for n in range(count)], tmp_path, name)


def test_tables_of_which_much_is_new_are_analyzed(settings: Settings, tmp_path: Path) -> None:
    load(settings, tmp_path, "first", 1000)
    assert [estimate(settings, table) for table in ("tracks", "email_opened", "email_bounced")] == [1000, 1000, -1]
    load(settings, tmp_path, "few", 20)
    assert estimate(settings, "tracks") == 1000
    load(settings, tmp_path, "some", 50)
    assert estimate(settings, "tracks") == 1070


def test_what_a_killed_load_left_counts_as_new(settings: Settings, tmp_path: Path) -> None:
    load(settings, tmp_path, "first", 1000)
    insert = """
        insert into {table} (id, event, event_text, received_at, timestamp)
        select 'x' || n, 'email_opened', 'Email Opened', now(), now() from generate_series(1, 60) as n
    """
    assert settings.database_url
    with psycopg.connect(settings.database_url) as connection:
        for table in ("tracks", "email_opened"):
            connection.execute(insert.format(table=f"selligent.{table}"))
    load(settings, tmp_path, "few", 1)
    assert estimate(settings, "tracks") == 1061


def test_a_table_in_use_is_left_alone(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(advisory_locks, "TABLE_TIMEOUT", "100ms")
    load(settings, tmp_path, "first", 10)
    assert settings.database_url
    with psycopg.connect(settings.database_url) as connection:
        connection.execute("lock table selligent.tracks in share update exclusive mode")  # as a vacuum does
        load(settings, tmp_path, "second", 10)
    assert (estimate(settings, "tracks"), estimate(settings, "email_opened")) == (10, 20)
    assert [row["status"] for row in select(settings, "select status from loads")] == ["ok", "ok"]


def test_nothing_touched_is_nothing_analyzed(settings: Settings) -> None:
    with closing(Warehouse(settings)) as warehouse:
        assert analyze(warehouse, {}) == []
        assert analyze(warehouse, {"email_opened": 1}) == ["email_opened"]
