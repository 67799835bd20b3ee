"""Wrong clocks: the time of an event is not moved by years, and such events are counted, with an example in `check`."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from loader.config import Settings
from loader.errors import UsageError
from loader.monitoring.checks import Limits, check
from loader.monitoring.outcome import write_metrics
from loader.monitoring.results import OK, WARN, Check
from loader.monitoring.status import read_status
from loader.schema.source import open_warehouse
from loader.transform import transform
from loader.views.settings import change_setting
from tests.support.load_oracle import has_suspect_clock, times
from tests.support.loading import event, load_bytes, load_events, one, select

CASE = Path(__file__).parents[1] / "data" / "clock.jsonl"
RECEIVED = datetime(2026, 1, 2, 3, 4, 6, tzinfo=UTC)
DAY = timedelta(days=1)
COUNT = "select events_clock_suspect from loads order by load_id desc limit 1"


def iso(time: datetime | None) -> str | None:
    return time.isoformat().replace("+00:00", "Z") if time else None


def sent_at(number: int, original: datetime | None, sent: datetime | None, **fields: Any) -> dict[str, Any]:
    moments = {"originalTimestamp": iso(original), "sentAt": iso(sent), "receivedAt": iso(RECEIVED)}
    return event(**{"messageId": f"m{number}", "timestamp": None, **moments, **fields})


def set_skew(settings: Settings, value: str) -> None:
    with open_warehouse(settings) as warehouse:
        change_setting(warehouse, "max_clock_skew", value)


def found_by_check(settings: Settings) -> Check:
    with open_warehouse(settings) as warehouse:
        (found,) = [one for one in check(warehouse, Limits()) if one.name == "clocks of senders"]
    return found


def test_a_clock_of_1970_does_not_move_an_event_to_2082(settings: Settings, tmp_path: Path) -> None:
    result = load_bytes(settings, CASE.read_bytes(), tmp_path)
    assert (result.status, result.counts["events_clock_suspect"]) == ("ok", 1)
    row = one(settings, "select timestamp, original_timestamp, sent_at, received_at from email_opened")
    happened = RECEIVED - timedelta(seconds=1)
    assert tuple(row.values()) == (happened, happened, datetime(1970, 1, 1, tzinfo=UTC), RECEIVED)
    assert (
        one(settings, COUNT) == one(settings, "select events_clock_suspect from files") == {"events_clock_suspect": 1}
    )
    found = found_by_check(settings)
    assert (found.level, "'c1'" in found.found, "sent 1970-01-01 00:00:00 UTC" in found.found) == (WARN, True, True)
    with open_warehouse(settings) as warehouse:
        assert read_status(warehouse)["loads"][0]["events_clock_suspect"] == 1
    write_metrics(tmp_path / "metrics", settings.schema, 0, 1.0, result)
    assert 'events_clock_suspect{schema="selligent"} 1.0' in (tmp_path / "metrics").read_text()


ORIGINAL = RECEIVED - timedelta(hours=3)
#: original, sent, expected timestamp, whether the event is counted.
CASES = {
    "right": (ORIGINAL, RECEIVED, ORIGINAL, False),
    "an hour behind": (ORIGINAL, RECEIVED - timedelta(hours=1), ORIGINAL + timedelta(hours=1), False),
    "exactly a day behind": (ORIGINAL, RECEIVED - DAY, ORIGINAL + DAY, False),
    "more than a day behind": (ORIGINAL, RECEIVED - DAY - timedelta(microseconds=1), ORIGINAL, True),
    "more than a day ahead": (ORIGINAL, RECEIVED + DAY * 1.5, ORIGINAL, True),
    "both years behind": (datetime(1970, 1, 1, 0, 1, tzinfo=UTC), datetime(1970, 1, 1, tzinfo=UTC), RECEIVED, True),
    "both years ahead": (RECEIVED + DAY * 900, RECEIVED + DAY * 900, RECEIVED, True),
    "not sent, in the future": (RECEIVED + DAY * 2, None, RECEIVED + DAY * 2, True),
    "sent, in the future": (RECEIVED + DAY * 2, RECEIVED, RECEIVED + DAY * 2, True),
    "without an own time": (None, RECEIVED - DAY * 2, RECEIVED, True),
}


@pytest.mark.parametrize("is_flat", [False, True])
def test_only_a_clock_that_is_wrong_by_more_than_a_day_is_not_used(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_flat: bool
) -> None:
    if is_flat:
        monkeypatch.setattr(transform, "MAX_ATTEMPTS", 0)
    events = [sent_at(n, original, sent) for n, (original, sent, _, _) in enumerate(CASES.values())]
    result = load_events(settings, events, tmp_path)
    stored = select(settings, "select timestamp from email_opened order by id")
    assert [row["timestamp"] for row in stored] == [expected for _, _, expected, _ in CASES.values()]
    assert result.counts["events_clock_suspect"] == sum(counted for *_, counted in CASES.values())
    again = load_events(settings, events, tmp_path, "again")
    assert (again.counts["events_duplicate"], again.counts["events_clock_suspect"]) == (len(CASES), 0)


def test_a_timestamp_that_was_computed_from_a_wrong_clock_is_not_used(settings: Settings, tmp_path: Path) -> None:
    wrong = sent_at(1, ORIGINAL, datetime(1970, 1, 1, tzinfo=UTC), timestamp="2082-01-02T00:04:06Z")
    load_events(settings, [wrong, sent_at(2, ORIGINAL, RECEIVED, timestamp="2026-01-01T00:00:00Z")], tmp_path)
    stored = select(settings, "select timestamp from email_opened order by id")
    assert [row["timestamp"] for row in stored] == [ORIGINAL, datetime(2026, 1, 1, tzinfo=UTC)]


def test_the_setting_moves_the_limit_or_switches_it_off(settings: Settings, tmp_path: Path) -> None:
    set_skew(settings, "1 hour")
    load_events(settings, [sent_at(1, ORIGINAL, RECEIVED - timedelta(hours=2))], tmp_path)
    set_skew(settings, "off")
    off = load_events(settings, [sent_at(2, ORIGINAL, RECEIVED - DAY * 9)], tmp_path, "off")
    stored = select(settings, "select timestamp from email_opened order by id")
    assert [row["timestamp"] for row in stored] == [ORIGINAL, ORIGINAL + DAY * 9]
    assert off.counts["events_clock_suspect"] == 0


@pytest.mark.parametrize("value", ["0", "-1 day", "soon", ""])
def test_a_limit_that_is_no_time_is_refused(settings: Settings, value: str) -> None:
    with pytest.raises(UsageError, match="write an interval such as '1 day', or off"):
        set_skew(settings, value)


def test_right_clocks_are_no_finding(settings: Settings, tmp_path: Path) -> None:
    load_events(settings, [sent_at(1, ORIGINAL, RECEIVED)], tmp_path)
    assert found_by_check(settings).level == OK


MOMENTS = st.none() | st.datetimes(datetime(1969, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))
NEAR = st.timedeltas(-2 * DAY, 2 * DAY).map(lambda distance: RECEIVED + distance)


@hypothesis_settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(MOMENTS | NEAR, MOMENTS | NEAR, st.none() | NEAR), min_size=1, max_size=30))
def test_times_are_those_of_the_rules_in_any_case(
    settings: Settings, tmp_path_factory: pytest.TempPathFactory, rows: list[Any]
) -> None:
    name = uuid4().hex
    events = [
        sent_at(n, original, sent, messageId=f"{name}{n}", timestamp=iso(stamp))
        for n, (original, sent, stamp) in enumerate(rows)
    ]
    result = load_events(settings, events, tmp_path_factory.mktemp("clocks"))
    expected = [times(fields) for fields in events]
    stored = select(settings, "select timestamp from tracks where id like %s order by substr(id, 33)::int", f"{name}%")
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    assert [(row["timestamp"] - epoch) // timedelta(microseconds=1) for row in stored] == [
        row["timestamp"] for row in expected
    ]
    assert result.counts["events_clock_suspect"] == sum(map(has_suspect_clock, expected))
