"""A rebuild in several sessions: what it leaves, whether it ends, fails or is killed."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from loader.config import Settings
from loader.errors import WarehouseError
from loader.sample import ndjson
from loader.views import rebuild, steps
from loader.views import refresh as refreshing
from loader.views.refresh import refresh
from loader.views.steps import Step
from tests.support.loading import load_bytes, select
from tests.support.waiting import until

#: Of 3,000 sample events some come twice.
EVENTS = 2_985
LEFT = """
    select relname from pg_class
    where relnamespace = 'selligent_ops'::regnamespace
        and (relname ~ '^(fresh|outdated)_' or relpersistence = 'u' or relname in ('coded_events', 'judgements'))
"""
REBUILD = """
import sys
from loader.config import Settings
from loader.views import rebuild
from loader.views.refresh import refresh
rebuild.MANY_EVENTS = 0
refresh(Settings(sys.argv[1], "selligent"), rebuild=True)
"""


@pytest.fixture
def figures(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[Any]]:
    """Return the figures of a warehouse with events, whose rebuilds work in several sessions."""
    load_bytes(settings, b"".join(ndjson.lines(3_000, 1)), tmp_path)
    refresh(settings)
    monkeypatch.setattr(rebuild, "MANY_EVENTS", 0)

    def read() -> list[Any]:
        return [
            select(settings, f"select * from {view} order by {key}")
            for view, key in {
                "campaigns": "campaign_id",
                "campaign_days": "campaign_id, delivery_day",
                "recipients": "person",
                "email_messages": "person, campaign_id, email_id, delivery",
            }.items()
        ]

    return read


def test_a_rebuild_in_several_sessions_brings_the_same_figures(
    settings: Settings, figures: Callable[[], list[Any]]
) -> None:
    before = figures()
    assert refresh(settings, rebuild=True) == EVENTS
    assert figures() == before
    assert select(settings, LEFT) == []
    options = "select relname from pg_class where relname like 'stored%' and reloptions is not null and relkind = 'r'"
    assert select(settings, options) == []
    assert refresh(settings) == 0


def test_a_rebuild_that_fails_leaves_the_old_figures_and_nothing_else(
    settings: Settings, figures: Callable[[], list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = figures()

    def with_an_error() -> list[Step]:
        *first, last, positions = steps.read_steps()
        return [
            *first,
            Step(last.name, f"{last.script}\nselect 1 / count(*) from mailbox_changes where false;\n"),
            positions,
        ]

    monkeypatch.setattr(refreshing, "read_steps", with_an_error)
    with pytest.raises(WarehouseError, match="division by zero"):
        refresh(settings, rebuild=True)
    assert figures() == before
    assert select(settings, LEFT) == []
    assert select(settings, "select error from refreshed") == [{"error": "division by zero"}]


@pytest.mark.parametrize("table", ["new_events", "judged_events", "fresh_messages", "mailbox_changes"])
def test_a_killed_rebuild_is_done_again(settings: Settings, figures: Callable[[], list[Any]], table: str) -> None:
    before = figures()
    assert settings.database_url
    killed = subprocess.Popen([sys.executable, "-c", REBUILD, settings.database_url], stderr=subprocess.DEVNULL)
    with psycopg.connect(settings.database_url, autocommit=True) as connection:
        until(lambda: connection.execute("select to_regclass(%s)", [f"selligent_ops.{table}"]).fetchone() != (None,))
        killed.kill()
    killed.wait()
    assert figures() == before
    assert refresh(settings, rebuild=table == "new_events") in {0, EVENTS}
    assert figures() == before
    assert select(settings, LEFT) == []


def test_a_rebuild_waits_for_the_sessions_of_a_killed_one(settings: Settings, figures: Callable[[], list[Any]]) -> None:
    before = figures()
    assert settings.database_url
    with psycopg.connect(settings.database_url) as session:
        session.execute("create unlogged table selligent_ops.judged_events as select 1 as place")
        session.execute("create table selligent_ops.fresh_events as select 1 as place")
        session.commit()
        session.execute("select * from selligent_ops.fresh_events")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(rebuild, "LOCK_TIMEOUT", "100ms")
            with pytest.raises(WarehouseError, match=r"lock|fresh_events"):
                refresh(settings, rebuild=True)
    assert refresh(settings, rebuild=True) == EVENTS
    assert figures() == before
    assert select(settings, LEFT) == []


def test_a_table_of_somebody_else_is_left_alone(settings: Settings, figures: Callable[[], list[Any]]) -> None:
    figures()
    with psycopg.connect(settings.database_url or "") as connection:
        connection.execute("create unlogged table selligent_ops.copied_events (id text)")
    refresh(settings, rebuild=True)
    assert select(settings, "select * from copied_events") == []
