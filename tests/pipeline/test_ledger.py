"""The ledger: the counts of a load are the sums of its files, also if another load has recorded it as killed."""

from pathlib import Path

import psycopg
import pytest

from loader.config import Settings
from loader.errors import DeclaredDeadError
from loader.monitoring.checks import Limits, check
from loader.pipeline import worker
from loader.pipeline.ledger import Ledger
from loader.schema.source import open_warehouse
from tests.support.crash_points import at
from tests.support.loading import event, load_bytes, ndjson, one, select

EVENTS = 500
DIFFERENT = """
    select load_id from loads
    where events_read <> (select coalesce(sum(events_read), 0) from files where files.load_id = loads.load_id)
"""


def declare_dead(settings: Settings) -> None:
    """Terminate the sessions of loads, as a crash of PostgreSQL does, and begin another load before they reconnect."""
    sessions = "select pg_terminate_backend(pid, 10000) from pg_stat_activity"
    end = f"{sessions} where application_name ~ '^selligent-loader load'"
    with psycopg.connect(settings.database_url or "", autocommit=True) as connection:
        connection.execute(f"{end} and datname = current_database()".encode())
    with open_warehouse(settings) as warehouse:
        ledger = Ledger(warehouse)
        ledger.finish(ledger.begin(), "empty", None)


def test_a_load_that_another_one_recorded_as_killed_stops(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "CHUNK_SIZE", 20_000)
    data = ndjson(event(messageId=f"m{n}") for n in range(EVENTS))
    with (
        at("chunk.committed", lambda: declare_dead(settings)),
        pytest.raises(DeclaredDeadError, match="run the load again"),
    ):
        load_bytes(settings, data, tmp_path)
    assert select(settings, DIFFERENT) == []
    assert 0 < one(settings, "select count(*) from tracks")["count"] < EVENTS
    load_bytes(settings, data, tmp_path)
    assert one(settings, "select sum(events_loaded)::int as loaded from files") == {"loaded": EVENTS}
    assert one(settings, "select count(*) from tracks") == {"count": EVENTS}
    assert select(settings, DIFFERENT) == []


def test_a_check_compares_loads_with_their_files(settings: Settings, tmp_path: Path) -> None:
    load_bytes(settings, ndjson([event()]), tmp_path)
    with psycopg.connect(settings.database_url or "") as connection:
        connection.execute("update selligent_ops.files set events_read = 5, events_loaded = 5")
    with open_warehouse(settings) as warehouse:
        (result,) = [one for one in check(warehouse, Limits()) if one.name == "reconciliation of the ledger"]
    assert (result.level, result.found) == ("error", "1 loads whose counts differ from the sums of their files")
