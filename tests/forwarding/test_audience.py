"""The people of a query become profiles and members of a segment; who has left it is removed from it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loader.config import Settings
from loader.errors import BusyError, UsageError
from loader.forwarding.audience import Audience, AudienceReplay
from loader.forwarding.configuration import find_integration
from loader.forwarding.replay import Replayed
from loader.postgres.advisory_locks import MEMBERS
from loader.schema.source import open_warehouse
from loader.views.refresh import refresh
from tests.support.forwarding import add
from tests.support.loading import event, load_events, select
from tests.support.selligent_calls import SETTINGS
from tests.support.selligent_server import KEY, SelligentServer, selligent

ROOT = Path(__file__).parents[2]


@pytest.fixture
def vendor(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SelligentServer]:
    monkeypatch.setenv("SELLIGENT_HOME", str(tmp_path / "home"))
    with selligent() as found:
        add(settings, found.url, "selligent", kind="selligent", secret=KEY, given=SETTINGS)
        yield found


def people(*names: str, plan: str = "gold") -> str:
    rows = ", ".join(f"('{name}', '{name}@example.com', '{plan}')" for name in names) or "(null, null, null)"
    return f"select * from (values {rows}) as people (user_id, email, plan) where user_id is not null;"


def send(settings: Settings, query: str, segment: str | None = "vip", **options: Any) -> Replayed:
    with open_warehouse(settings) as warehouse:
        audience = Audience(query, segment=segment, **options)
        return AudienceReplay(warehouse, find_integration(warehouse, "selligent"), audience).run()


def members(vendor: SelligentServer) -> set[str]:
    return vendor.members("customers", "vip", "CUSTOMER_ID")


def test_a_segment_is_filled_and_who_left_is_removed(settings: Settings, vendor: SelligentServer) -> None:
    assert send(settings, people("a", "b", "c")).delivered == 6
    assert members(vendor) == {"a", "b", "c"}
    assert vendor.rows("customers")["b"] == {
        "CUSTOMER_ID": "b",
        "MAIL": "b@example.com",
        "PLAN": "gold",
        "AGE": None,
    }
    assert send(settings, people("b", "c", "d", plan="free"), has_profiles=True).delivered == 3 + 1 + 1
    assert members(vendor) == {"b", "c", "d"}
    assert vendor.rows("customers")["a"]["PLAN"] == "gold"
    assert send(settings, people(), has_profiles=False).delivered == 3
    assert members(vendor) == set()
    assert select(settings, "select * from segment_members") == []


def test_the_view_recipients_fills_a_segment(settings: Settings, vendor: SelligentServer, tmp_path: Path) -> None:
    opened = [event(messageId=f"m{n}", userId=f"u{n}", event="Email Delivered") for n in range(5)]
    load_events(settings, opened, tmp_path)
    refresh(settings)
    query = "select person as user_id, email from recipients where delivered > 0 -- all of them"
    assert send(settings, query).undelivered == 0
    assert members(vendor) == {f"u{n}" for n in range(5)}


def test_a_member_that_is_refused_is_set_aside_and_sent_again_later(
    settings: Settings, vendor: SelligentServer
) -> None:
    done = send(settings, people("a", "b" * 120, "c"))
    assert members(vendor) == {"a", "c"}
    assert (done.undelivered, done.failures) == (1, {"refused": 1})
    assert [row["reason"] for row in select(settings, "select reason from undelivered_events")] == ["refused"]


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("select 1 as a", "no column 'user_id'"),
        ("select user_id from nowhere", "the query fails"),
        ("delete from selligent.tracks returning user_id", "the query fails"),
        ("select '1' as user_id); drop table selligent.tracks; (select 1", "the query fails"),
    ],
)
def test_a_query_that_cannot_be_used_is_reported_before_anything_is_sent(
    settings: Settings, vendor: SelligentServer, query: str, problem: str
) -> None:
    with pytest.raises(UsageError, match=problem):
        send(settings, query)
    assert vendor.calls == []


def test_a_segment_is_filled_by_one_process_at_a_time(settings: Settings, vendor: SelligentServer) -> None:
    with open_warehouse(settings) as warehouse:
        found = find_integration(warehouse, "selligent")
        assert warehouse.try_lock(MEMBERS, f"{found.integration_id} vip")
        with pytest.raises(BusyError):
            send(settings, people("a"))
    assert vendor.calls == []


def replay(settings: Settings, *options: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", "from loader.cli.main import main; main()", "integrations", "replay", "selligent"]
    environment = os.environ | {"SELLIGENT_DATABASE_URL": str(settings.database_url)}
    return subprocess.run([*command, *options], env=environment, cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_dry_run_shows_the_requests_and_sends_nothing(settings: Settings, vendor: SelligentServer) -> None:
    send(settings, people("a"))
    vendor.calls.clear()
    done = replay(settings, "--query", people("b"), "--segment", "vip", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "1 rows, 0 of them without user_id" in done.stdout
    assert '[["b","b@example.com","gold"]]' in done.stdout
    assert "DELETE " in done.stdout
    assert '[["a"]]' in done.stdout
    assert KEY not in done.stdout
    assert vendor.calls == []
    assert [row["user_id"] for row in select(settings, "select user_id from segment_members")] == ["a"]


KILLED = """
import sys
from tests.support.crash_points import kill_at
step, lives = sys.argv.pop(1).split(":")
kill_at(step, int(lives))
from loader.cli.main import main
main()
"""


@pytest.mark.parametrize(
    "step",
    [
        "audience.stored:0",
        *(pytest.param(step, marks=pytest.mark.slow) for step in ("forward.called:2", "forward.answered:2")),
        pytest.param("audience.marked:0", marks=pytest.mark.slow),
    ],
)
def test_after_a_kill_the_next_run_completes_the_segment(
    settings: Settings, vendor: SelligentServer, step: str
) -> None:
    send(settings, people("a", "b"))
    command = [sys.executable, "-c", KILLED, step, "integrations", "replay", "selligent", "--segment", "vip"]
    environment = os.environ | {"SELLIGENT_DATABASE_URL": str(settings.database_url), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([*command, "--query", people("b", "c")], env=environment, capture_output=True, check=False)
    assert done.returncode == -9, done.stderr
    # Who left in the meantime is removed too, although the killed run did not learn that they had entered.
    send(settings, people("b", "d"))
    assert members(vendor) == {"b", "d"}
