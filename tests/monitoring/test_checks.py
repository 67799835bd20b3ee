"""Checks: levels and exit codes for faults, and no alarm for pauses that are usual."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from time import sleep

import psycopg
import pytest

from loader.config import Settings
from loader.monitoring.checks import Limits, check, check_volume, exit_code
from loader.monitoring.results import ERROR, OK, SKIP, WARN, Check
from loader.schema.source import open_warehouse
from tests.support.command_line import Run
from tests.support.loading import Event, event, load_events

PER_DAY = 56
LONGEST_TEST = timedelta(minutes=1)


@pytest.fixture(autouse=True)
def _no_midnight() -> None:
    """Let no test run over midnight in UTC, because the checks compare whole days."""
    left = today() + timedelta(days=1) - now()
    if left < LONGEST_TEST:
        sleep(left.total_seconds())


def now() -> datetime:
    return datetime.now(UTC)


def today() -> datetime:
    return now().replace(hour=0, minute=0, second=0, microsecond=0)


def days(name: str, ago: Iterable[int], per_day: int = PER_DAY) -> list[Event]:
    """Return events spread evenly over some days, without those in the future."""
    step = timedelta(days=1) / per_day
    times = [today() - timedelta(days=day) + n * step for day in ago for n in range(per_day)]
    return [made(name, time) for time in times if time <= now()]


numbers = count()


def made(name: str, time: datetime) -> Event:
    at = time.isoformat().replace("+00:00", "Z")
    return event(event=name, messageId=f"{next(numbers)}", originalTimestamp=at, sentAt=at, receivedAt=at, timestamp=at)


def night(settings: Settings, tmp_path: Path, *events: Iterable[Event]) -> None:
    """Load ten weeks of daily deliveries and further events."""
    load_events(settings, [*days("Email Delivered", range(70)), *(one for some in events for one in some)], tmp_path)


def change(settings: Settings, statement: str) -> None:
    assert settings.database_url
    with psycopg.connect(settings.database_url) as connection:
        connection.execute("set search_path to selligent, selligent_ops")
        connection.execute(statement)


def found(settings: Settings, limits: Limits | None = None) -> tuple[int, list[tuple[str, str]]]:
    """Return the exit code, and the level and name of each check that warns or fails."""
    with open_warehouse(settings) as warehouse:
        checks = check(warehouse, limits or Limits())
    return exit_code(checks), [(check.level, check.name) for check in checks if check.level in (WARN, ERROR)]


def test_when_all_is_well_nothing_is_wrong(settings: Settings, tmp_path: Path) -> None:
    complaints = days("Email Marked as Spam", (30, 45, 60), 1)
    twice_a_week = [day for day in range(70) if day % 7 in {3, 6}]
    night(settings, tmp_path, days("Email Opened", range(70)), complaints, days("Email Link Clicked", twice_a_week))
    assert found(settings) == (0, [])
    with open_warehouse(settings) as warehouse:
        skipped = {one.name for one in check(warehouse, Limits()) if one.level == SKIP}
    rare = ("email_bounced", "email_marked_as_spam", "email_unsubscribed")
    assert {f"{subject} of {table}" for subject in ("freshness", "volume") for table in rare} <= skipped
    assert "freshness of email_link_clicked" not in skipped


@pytest.mark.parametrize(
    ("first", "code", "wrong"),
    [
        (0, 0, []),
        (3, 0, [(WARN, "freshness of email_opened")]),
        (4, 5, [(ERROR, "freshness of email_opened")]),
        (60, 0, [(WARN, "freshness of email_opened")]),  # ended long ago, while other collections continue
    ],
)
def test_a_daily_collection_that_stops_is_told(
    settings: Settings, tmp_path: Path, first: int, code: int, wrong: list[tuple[str, str]]
) -> None:
    # Too few events for the volume check, so that only their age counts. The last event is close to midnight.
    night(settings, tmp_path, days("Email Opened", range(first, 130), 48))
    at_midnight = Limits(warn=now() - today() + timedelta(hours=26), error=now() - today() + timedelta(hours=50))
    assert found(settings, at_midnight) == (code, wrong)


@pytest.mark.parametrize(("silent", "code"), [(3, 0), (6, 5)])
def test_a_collection_is_judged_by_its_own_rhythm(settings: Settings, tmp_path: Path, silent: int, code: int) -> None:
    night(settings, tmp_path, days("Email Opened", range(silent, 70, 3), 1))
    assert found(settings)[0] == code


def test_events_of_the_future_do_not_look_fresh(settings: Settings, tmp_path: Path) -> None:
    late = [made("Email Opened", now() + timedelta(days=400))]
    load_events(settings, [*days("Email Opened", range(5, 70)), *late], tmp_path)
    code, wrong = found(settings)
    assert (code, {name for _, name in wrong}) == (5, {"freshness of email_opened", "freshness of tracks"})


def test_events_without_the_senders_time_are_judged_by_when_they_were_received(
    settings: Settings, tmp_path: Path
) -> None:
    events = [one | {"originalTimestamp": None} for one in days("Email Opened", range(3))]
    for one in events:
        del one["originalTimestamp"], one["timestamp"]
    load_events(settings, events, tmp_path)
    assert found(settings) == (0, [])


def test_an_empty_warehouse_is_stale(settings: Settings) -> None:
    assert found(settings) == (5, [(ERROR, "freshness of tracks")])


@pytest.mark.parametrize(
    ("yesterday", "code", "level"), [(PER_DAY, 0, OK), (24, 0, WARN), (3, 3, ERROR), (4 * PER_DAY, 0, WARN)]
)
def test_volume_is_compared_with_the_same_weekday(
    settings: Settings, tmp_path: Path, yesterday: int, code: int, level: str
) -> None:
    opened = days("Email Opened", [0, *range(2, 70)]), days("Email Opened", [1], yesterday)
    night(settings, tmp_path, *opened)
    expected = [] if level == OK else [(level, "volume of email_opened")]
    assert found(settings) == (code, expected + [(WARN, "volume of tracks")] * (yesterday > 2 * PER_DAY * 3))


@pytest.mark.parametrize(
    ("before", "last", "level"),
    [
        ([0, 0, 0, 0, 0, 90, 90, 90], 1, SKIP),  # too few weeks
        ([49] * 8, 1, SKIP),  # too few events
        ([1000, 200, 900, 300, 1000, 250, 800, 1000], 260, OK),  # two lower weeks make 260 a usual volume
        ([1000, 2, 1000, 1000, 1000, 1000, 1000, 1000], 210, WARN),  # a single lower week does not
        ([1000] * 8, 99, ERROR),
    ],
)
def test_a_volume_is_judged_by_its_median_and_spread(before: list[int], last: int, level: str) -> None:
    day = datetime(2025, 3, 2, tzinfo=UTC).date()
    judged = check_volume("tracks", [(day, number) for number in (*before, last)])
    assert judged.level == level


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("delete from tracks where id = (select max(id) from tracks)", "tracks and collections"),
        ("update files set events_loaded = events_loaded - 1", "reconciliation of the ledger"),
        ("update loads set events_read = events_read + 1", "reconciliation of the ledger"),
        ("update loads set status = 'failed', error = 'no room'", "last load of files"),
        ("update loads set status = 'running'", "last load of files"),  # no session holds its lock
        ("delete from refreshed; update loads set finished_at = now() - interval '2 h'", "views"),
    ],
)  # fmt: skip
def test_what_is_not_whole_is_told(settings: Settings, tmp_path: Path, statement: str, name: str) -> None:
    night(settings, tmp_path)
    assert found(settings) == (0, [])
    change(settings, statement)
    assert found(settings) == (3, [(ERROR, name)])


def test_large_tables_are_compared_day_by_day(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loader.monitoring.freshness.MAX_COUNTED_BYTES", 0)
    night(settings, tmp_path)
    change(settings, "analyze")
    assert found(settings) == (0, [])
    change(settings, f"delete from tracks where original_timestamp = '{today() - timedelta(days=1)}'")
    assert found(settings) == (3, [(ERROR, "tracks and collections")])


def test_rejects_are_told_until_they_are_replayed_or_old(settings: Settings, tmp_path: Path) -> None:
    night(settings, tmp_path, [{"type": "sing"}, {"type": "dance"}])
    assert found(settings) == (3, [(ERROR, "rejected events")])
    assert found(settings, Limits(max_rejects=2)) == (0, [])
    change(settings, "update rejected_events set replayed_at = now()")
    assert found(settings) == (0, [])
    change(settings, "update rejected_events set replayed_at = null")
    change(settings, "update loads set started_at = now() - interval '51 h'")
    assert found(settings) == (0, [])


def test_staleness_comes_before_other_faults() -> None:
    wrong, stale, warned = Check("a", ERROR, ""), Check("b", ERROR, "", "", True), Check("c", WARN, "", "", True)
    assert [exit_code(checks) for checks in ([], [warned], [warned, wrong], [wrong, stale])] == [0, 0, 3, 5]


def test_the_command_prints_a_line_for_each_check(run: Run, settings: Settings, tmp_path: Path) -> None:
    night(settings, tmp_path)
    well = run("check")
    assert (well.code, well.err) == (0, "")
    assert all(line.startswith(("ok    ", "skip  ")) for line in well.out.splitlines())
    change(settings, "update loads set status = 'failed', error = 'no room'")
    wrong = run("check", "--json")
    printed = json.loads(wrong.out)
    assert (wrong.code, printed["status"], len(printed["checks"])) == (3, "wrong", len(well.out.splitlines()))
    assert [one["check"] for one in printed["checks"] if one["level"] == "error"] == ["last load of files"]
    stale = run("check", "--warn", "0m", "--error", "0h")
    assert stale.code == 5
    assert "error freshness of tracks: newest event " in stale.out
    assert (run("check", "--warn", "3d").code, run("check", "--warn", "soon").code) == (2, 2)
