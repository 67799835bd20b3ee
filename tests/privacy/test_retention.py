"""Old events, segments and rejects are deleted; figures of campaigns stay as they are."""

import json
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from loader.api import load as load_and_refresh
from loader.config import Settings
from loader.errors import BusyError, UsageError
from loader.pipeline.ledger import Ledger
from loader.pipeline.options import Options
from loader.privacy.erase import ErasureOptions, erase
from loader.privacy.retention import apply_policy, is_due, read_policy, set_policy
from loader.privacy.subjects import Subject
from loader.schema.source import open_warehouse
from loader.views.refresh import refresh
from loader.views.settings import change_setting
from tests.support.command_line import Run
from tests.support.crash_points import at
from tests.support.forwarding import spooling, write
from tests.support.loading import Event, event, ndjson, one, select

NOW = datetime.now(UTC)


def mail(
    number: int, age: int, user: str, name: str = "Email Delivered", campaign: str = "c1", hours: int = 0
) -> Event:
    """Return an event of a campaign, `age` days ago."""
    moment = (NOW - timedelta(days=age) + timedelta(hours=hours)).isoformat(timespec="milliseconds")
    times = dict.fromkeys(("originalTimestamp", "sentAt", "receivedAt", "timestamp"), moment)
    properties = {"campaign_id": campaign, "email_id": "e", "campaign_name": f"Campaign {campaign}"}
    return event(messageId=f"m{number}", userId=user, event=name, properties=properties, **times)


OLD = [mail(1, 800, "u1"), mail(2, 800, "u2"), mail(3, 799, "u1", "Email Opened"), mail(4, 790, "u3", campaign="c0")]
NEW = [mail(11, 9, "u1"), mail(12, 9, "u4"), mail(13, 8, "u4", "Email Opened"), mail(14, 8, "u1", "Email Link Clicked")]


def figures(settings: Settings) -> dict[str, list[str]]:
    """Return the rows of the views of campaigns, without percentiles of campaigns of which a part is left."""
    views = ("campaigns", "campaign_days")
    return {
        name: [row["row"] for row in select(settings, f"select to_jsonb(v)::text as row from {name} as v order by 1")]
        for name in views
    }


def load(settings: Settings, folder: Path, events: list[Event], name: str) -> None:
    (folder / name).write_bytes(ndjson(events))
    assert load_and_refresh(settings, [str(folder / name)], Options()).status == "ok"


def retain(settings: Settings, **given: str) -> None:
    with open_warehouse(settings) as warehouse:
        set_policy(warehouse, given)


def sums(settings: Settings) -> list[str]:
    """Return the figures that are not the same in all views."""
    query = "select figure from figure_sums group by figure having min(total) <> max(total)"
    return [row["figure"] for row in select(settings, query)]


@pytest.fixture
def world(settings: Settings, tmp_path: Path) -> dict[str, list[str]]:
    load(settings, tmp_path, OLD + NEW, "a.jsonl")
    return figures(settings)


def test_old_events_go_and_the_figures_of_campaigns_stay(
    settings: Settings, tmp_path: Path, world: dict[str, list[str]]
) -> None:
    retain(settings, events="25months")
    assert apply_policy(settings, tmp_path / "spool") == {"events": 4}
    left = ["m11", "m12", "m13", "m14"]
    assert [row["id"] for row in select(settings, "select id from tracks order by id")] == left
    collections = "email_delivered union all select id from email_opened union all select id from email_link_clicked"
    assert [row["id"] for row in select(settings, f"select id from {collections} order by id")] == left
    assert [row["id"] for row in select(settings, "select id from email_events order by id")] == left
    assert select(settings, "select * from recipients where person in ('u2', 'u3')") == []
    assert select(settings, "select name from stored_people where name in ('u2', 'u3')") == []
    assert (figures(settings), sums(settings)) == (world, [])
    refresh(settings, rebuild=True)
    assert (figures(settings), sums(settings)) == (world, [])
    assert apply_policy(settings, tmp_path / "spool") == {"events": 0}
    assert refresh(settings, full=True) == 0

    campaign = "select delivered, opened, clicked, recipients, first_delivered_at from campaigns where campaign_id = %s"
    before = one(settings, campaign, "c1")
    load(
        settings,
        tmp_path,
        [mail(21, 2, "u5"), mail(22, 2, "u6", campaign="c0"), mail(23, 1, "u5", "Email Opened")],
        "b",
    )
    after = one(settings, campaign, "c1")
    assert (after["delivered"], after["opened"]) == (before["delivered"] + 1, before["opened"] + 1)
    assert after["first_delivered_at"] == before["first_delivered_at"]
    assert one(settings, campaign, "c0")["delivered"] == 2
    found = figures(settings)
    with open_warehouse(settings) as warehouse:
        change_setting(warehouse, "reporting_time_zone", "Asia/Tokyo")
    refresh(settings)
    assert sums(settings) == []
    with open_warehouse(settings) as warehouse:
        change_setting(warehouse, "reporting_time_zone", "UTC")
    refresh(settings)
    assert (figures(settings), sums(settings)) == (found, [])


@pytest.mark.slow
def test_a_second_deletion_and_an_erasure_add_up(
    settings: Settings, tmp_path: Path, world: dict[str, list[str]]
) -> None:
    retain(settings, events="2 years")
    apply_policy(settings, tmp_path / "spool")
    retain(settings, events="205h")
    assert apply_policy(settings, tmp_path / "spool") == {"events": 2}
    assert (figures(settings), sums(settings)) == (world, [])
    before = one(settings, "select delivered, clicked from campaigns where campaign_id = 'c1'")
    options = ErasureOptions(tmp_path / "spool", tmp_path / "home")
    assert erase(settings, [Subject("u1")], options, lambda _: True)
    after = one(settings, "select delivered, clicked from campaigns where campaign_id = 'c1'")
    assert (before["delivered"], after["delivered"]) == (4, 4)
    assert sums(settings) == []


def test_a_deletion_that_is_killed_is_completed_by_the_next_one(
    settings: Settings, tmp_path: Path, world: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loader.privacy.retention.BATCH", 2)
    retain(settings, events="25months")

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), at("retention.batch", stop):
        apply_policy(settings, tmp_path / "spool")
    assert one(settings, "select count(*)::int as n from tracks") == {"n": 6}
    assert figures(settings) == world
    load(settings, tmp_path, [mail(21, 2, "u5", campaign="c2")], "b")
    with_new = figures(settings)
    apply_policy(settings, tmp_path / "spool")
    assert one(settings, "select count(*)::int as n from tracks") == {"n": 5}
    assert (figures(settings), sums(settings)) == (with_new, [])


def test_events_are_not_deleted_beside_a_load(settings: Settings, tmp_path: Path, world: Any) -> None:
    retain(settings, events="25months")
    with open_warehouse(settings) as warehouse:
        ledger = Ledger(warehouse)
        load_id = ledger.begin()
        with pytest.raises(BusyError):
            apply_policy(settings, tmp_path / "spool")
        ledger.finish(load_id, "ok", None)
    assert one(settings, "select count(*)::int as n from tracks") == {"n": 8}


def test_a_load_applies_the_policy_once_a_day(settings: Settings, tmp_path: Path, world: Any) -> None:
    retain(settings, events="25months")
    load(settings, tmp_path, [mail(21, 2, "u5")], "b")
    assert one(settings, "select count(*)::int as n from tracks") == {"n": 5}
    with open_warehouse(settings) as warehouse:
        assert not is_due(warehouse)


def test_old_rejects_and_segments_go(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b'{"x": 1]}\n{"y": 1]}\n')
    load_and_refresh(settings, [str(tmp_path / "a")], Options(max_rejects=9))
    select(settings, "update rejected_events set rejected_at = now() - interval '91 days' where line = 1 returning 1")
    spool = tmp_path / "spool"
    with spooling(spool) as opened:
        for _ in range(2):
            write(opened, NEW)
            opened.rotate()
            opened.archive(opened.closed("selligent")[0])
        kept = sorted((spool / "selligent" / ".loaded").iterdir())
        os.utime(kept[0], (time.time() - 31 * 86400,) * 2)
        retain(settings, raw="30days", rejects="90days")
        counts = apply_policy(settings, spool)
    assert counts == {"segments": 1, "rejects": 1, "discarded_values": 0, "undelivered_events": 0}
    assert sorted((spool / "selligent" / ".loaded").iterdir()) == kept[1:]


@pytest.mark.parametrize("value", ["", "soon", "-1 day", "0 days"])
def test_what_is_no_time_is_refused(settings: Settings, value: str) -> None:
    with pytest.raises(UsageError, match="no time to keep"):
        retain(settings, events=value)


def test_the_policy_is_shown_and_ended(run: Run, settings: Settings) -> None:
    assert run("privacy", "retain").out == "everything is kept\n"
    ended = run("privacy", "retain", "--events", "25months", "--raw", "30days", "--rejects", "90days", "--json")
    assert {row["kind"]: row["kept_for"] for row in json.loads(ended.out)["retention"]} == {
        "events": "2 years 1 mon",
        "raw": "30 days",
        "rejects": "90 days",
    }
    run("privacy", "retain", "--events", "off")
    with open_warehouse(settings) as warehouse:
        assert [row["kind"] for row in read_policy(warehouse)] == ["raw", "rejects"]
    assert "0 rejects" in run("privacy", "apply", SELLIGENT_HOME="/nonexistent").out
