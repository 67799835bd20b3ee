"""Times: all accepted forms are read as the moment that an independent reader finds, whatever the input."""

import io
import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from loader import Options, UsageError
from loader import load as load_source
from loader.api import replay
from loader.config import Settings
from loader.duckdb import Session, check_time_reading
from loader.events.times import DEFAULT_TIMES, TimeReading
from loader.migrate import migrate
from loader.pipeline.rejected_events import RejectFilter
from loader.transform import transform
from tests.pipeline.test_backfill import everything
from tests.support.endpoint import serving
from tests.support.load_oracle_values import Number, microseconds, moment
from tests.support.loading import event, load, load_bytes, load_events, one, select

SESSIONS: dict[TimeReading, Session] = {}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def read(values: Sequence[str], times: TimeReading = DEFAULT_TIMES, *, is_field: bool = True) -> list[datetime | None]:
    """Return the moment of each text; `is_field` says whether it is a time field of an event."""
    if times not in SESSIONS:
        SESSIONS[times] = Session(times)
    session = SESSIONS[times]
    session.register("texts", pa.table({"x": pa.array(values, pa.string())}))
    macro = "read_time_field" if is_field else "read_time"
    found = session.rows(f"select epoch_us({macro}(x)) from texts")
    return [None if us is None else EPOCH + timedelta(microseconds=us) for (us,) in found]


def at(year: int, month: int, day: int, *clock: int) -> datetime:
    hour, minute, second, micros = (*clock, 0, 0, 0, 0)[:4]
    return datetime(year, month, day, hour, minute, second, micros, UTC)


WHEN = at(2026, 1, 2, 3, 4, 5)

FORMS = {
    "2026-01-02t03:04:05z": WHEN,
    "2026-01-02 03:04:05Z": WHEN,
    "20260102T030405Z": WHEN,
    "20260102T0304": at(2026, 1, 2, 3, 4),
    "2026-01-02 03:04:05 UTC": WHEN,
    "2026-01-02 03:04:05.25 GMT": at(2026, 1, 2, 3, 4, 5, 250_000),
    "2026-01-02T03:04:05+01": at(2026, 1, 2, 2, 4, 5),
    "2026-01-02T03:04:05+0100": at(2026, 1, 2, 2, 4, 5),
    "2026-01-02T03:04:05-05:30": at(2026, 1, 2, 8, 34, 5),
    "2026-01-02 03:04:05 +0100": at(2026, 1, 2, 2, 4, 5),
    "2026-01-02T03:04:05,5Z": at(2026, 1, 2, 3, 4, 5, 500_000),
    "2026-01-02T03:04:05.123456999Z": at(2026, 1, 2, 3, 4, 5, 123_456),
    "2026-01-02T03:04:05.123456999999999+00": at(2026, 1, 2, 3, 4, 5, 123_456),
    "2026-01-02T24:00:00Z": at(2026, 1, 3),
    "2026-12-31T24:00:00.000Z": at(2027, 1, 1),
    "20261231T2400+0100": at(2026, 12, 31, 23),
    "2026-06-30T23:59:60Z": at(2026, 7, 1),
    "2026-06-30T23:59:60.250Z": at(2026, 7, 1, 0, 0, 0, 250_000),
    "1767323045": WHEN,
    "1767323045.5": at(2026, 1, 2, 3, 4, 5, 500_000),
    "1767323045000": WHEN,
    "1767323045000.25": at(2026, 1, 2, 3, 4, 5, 250),
    "1767323045000000": WHEN,
    "978307200": at(2001, 1, 1),
    "4133980799999999": at(2100, 12, 31, 23, 59, 59, 999_999),
    "Fri, 02 Jan 2026 03:04:05 +0100": at(2026, 1, 2, 2, 4, 5),
    "Fri, 2 Jan 2026 03:04:05 GMT": WHEN,
    "2 jan 2026 03:04 UT": at(2026, 1, 2, 3, 4),
    "Fri, 02 Jan 2026 03:04:05 +0100 (CET)": at(2026, 1, 2, 2, 4, 5),
}
#: Dates alone, what may mean several moments, and what is no time.
NOT_TIMES = (
    *("", "x", "now", "2026-01-02", "20260102", "20260102030405", "02/01/2026 03:04", "01.02.2026 03:04", "03:04:05"),
    *("2026-02-30T00:00:00Z", "20260230T000000Z", "30 feb 2026 00:00", "2026-13-01t00:00z", "0000-01-01T00:00:00Z"),
    *("2026-01-02T24:00:01Z", "2026-01-02T24:01", "2026-01-02T25:00:00Z", "2026-01-02T03:60:00Z", "2026-01-02T03"),
    *("2026-01-02T03:04:61Z", "2026-01-02T03:04:05 CET", "2026-01-02T03:04:05+24:00", "2026-01-02T03:04:05+01:60"),
    *(" 2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z ", "2026-01-02  03:04", "2026-01-02 03:04 (x)", "2026-0102T03:04"),
    *("978307199", "4133980800", "978307199999", "4133980800000000", "17673230450000", "12345", "-1767323045"),
    *("1767323045.", "1.767e12", "01767323045", "0001-01-01T00:00:00+01:00", "9999-12-31T24:00:00Z"),
)


def test_each_accepted_form_is_the_moment_it_says() -> None:
    assert dict(zip(FORMS, read(list(FORMS)), strict=True)) == FORMS
    assert {text: moment(text) for text in FORMS} == {
        text: (when - EPOCH) // timedelta(microseconds=1) for text, when in FORMS.items()
    }


@pytest.mark.parametrize("text", NOT_TIMES)
def test_what_may_mean_several_moments_or_none_is_not_read(text: str) -> None:
    assert (read([text]), moment(text)) == ([None], None)


def test_digits_are_times_in_the_fields_of_an_event_only() -> None:
    digits = [text for text in FORMS if re.fullmatch("[0-9.]+", text)]
    assert read(digits, is_field=False) == [None] * len(digits)
    others = [text for text in FORMS if text not in digits]
    assert read(others, is_field=False) == [FORMS[text] for text in others]


MOMENTS = st.datetimes(datetime(1000, 1, 2), datetime(9998, 12, 30), timezones=st.just(UTC))
OFFSETS = st.integers(-23 * 60 - 59, 23 * 60 + 59)


def written(when: datetime, minutes: int, draw: Any) -> str:
    """Return a time in a random accepted form, with an offset of so many minutes."""
    local = when.astimezone(timezone(timedelta(minutes=minutes)))
    if draw(st.booleans()) and not when.microsecond:
        return format_datetime(local) if draw(st.booleans()) else format_datetime(local).partition(", ")[2]
    date, clock = draw(st.sampled_from([("%Y-%m-%d", "%H:%M:%S"), ("%Y%m%d", "%H%M%S")]))
    text = f"{local:{date}}{draw(st.sampled_from('Tt '))}{local:{clock}}"
    if when.microsecond or draw(st.booleans()):
        text += draw(st.sampled_from(".,")) + f"{when.microsecond:06}" + draw(st.text("0123456789", max_size=9))
    sign, (hours, rest) = "-" if minutes < 0 else "+", divmod(abs(minutes), 60)
    zones = [f"{sign}{hours:02}:{rest:02}", f"{sign}{hours:02}{rest:02}", f" {sign}{hours:02}{rest:02}"]
    zones += [f"{sign}{hours:02}"] * (not rest)
    if not minutes:
        zones += ["", "Z", "z", " UTC", " GMT", "UTC"]
    return text + str(draw(st.sampled_from(zones)))


@given(MOMENTS, OFFSETS | st.just(0), st.data())
def test_a_moment_in_any_form_is_read_as_that_moment(when: datetime, minutes: int, data: st.DataObject) -> None:
    text = written(when, minutes, data.draw)
    assert (text, read([text])) == (text, [when])
    assert microseconds(text) == (when - EPOCH) // timedelta(microseconds=1)


@given(st.datetimes(datetime(2001, 1, 1), datetime(2100, 12, 31), timezones=st.just(UTC)), st.sampled_from([0, 3, 6]))
def test_a_number_in_any_unit_is_read_as_that_moment(when: datetime, exponent: int) -> None:
    micros = (when - EPOCH) // timedelta(microseconds=1)
    whole, rest = divmod(micros, 10 ** (6 - exponent))
    text = f"{whole}.{rest:0{6 - exponent}}" if rest else str(whole)
    assert read([text]) == [when]
    assert moment(Number(text)) == micros


@given(
    st.text("0123456789-+:., TtZzUCGMjanJFri", max_size=30) | st.from_regex(r"\A\d{4}-?\d\d-?\d\d[T ]\d\d:?\d\d.{,9}\Z")
)
def test_both_readers_agree_on_any_text(text: str) -> None:
    (found,) = read([text])
    assert (found and (found - EPOCH) // timedelta(microseconds=1)) == moment(text)


def test_a_zone_is_that_of_times_without_one() -> None:
    paris = TimeReading(zone="Europe/Paris")
    assert read(["2026-07-02 03:04", "20260702T0304", "2 Jul 2026 03:04:00"], paris) == [at(2026, 7, 2, 1, 4)] * 3
    others = ["2026-07-02T03:04:00.000Z", "2026-07-02T03:04+00", "1782961440", "2 Jul 2026 03:04:00 GMT"]
    assert read(others, paris) == [at(2026, 7, 2, 3, 4)] * 4


@given(st.datetimes(datetime(1980, 1, 1), datetime(2037, 1, 1)).map(lambda when: when.replace(microsecond=0)))
def test_a_local_time_is_that_of_the_zone(local: datetime) -> None:
    """The second of two moments with the same local time; in a skipped hour, the clock before the change."""
    zone = ZoneInfo("America/New_York")
    (found,) = read([local.isoformat(" ")], TimeReading(zone=zone.key))
    first, second = (local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    assert found == max(first, second)


def test_a_format_is_tried_first_and_the_others_after_it() -> None:
    swapped = TimeReading("%Y-%d-%m %H:%M", "Europe/Paris")
    assert read(["2026-01-02 03:04", "2026-01-02T03:04Z", "2026-13-01 03:04"], swapped) == [
        at(2026, 2, 1, 2, 4),
        at(2026, 1, 2, 3, 4),
        at(2026, 1, 13, 2, 4),
    ]
    offset = TimeReading("%d/%m/%Y %H:%M %z", "Europe/Paris")
    assert read(["02/01/2026 03:04 +0000"], offset) == [at(2026, 1, 2, 3, 4)]


@pytest.mark.parametrize("text", ["%d.%m.%y", "%d/%m/%Y %I:%M:%S %p", "%Y%m%d%H%M%S", "%A, %d %B %Y %H:%M", "%Y-%j"])
def test_a_format_that_gives_a_moment_is_accepted(text: str) -> None:
    check_time_reading(TimeReading(text))


@pytest.mark.parametrize("text", ["", "x", "%Q", "%d/%m/%Y %", "%H:%M", "%m/%d %H:%M", "%d/%m/%Y %I:%M"])
def test_a_format_that_gives_no_moment_is_refused_at_once(text: str) -> None:
    with pytest.raises(UsageError, match="time format") as failure:
        Options(time_format=text)
    assert repr(text) in str(failure.value)


@pytest.mark.parametrize("name", ["", "Paris", "europe/paris", "Nowhere/Here", "IST", "+01:00", "'"])
def test_a_zone_that_is_none_is_refused_at_once(name: str) -> None:
    with pytest.raises(UsageError, match="give a name of the IANA database, like Europe/Paris"):
        Options(time_zone=name)


CASES = Path(__file__).parent.parent / "data" / "times.jsonl"
STORED = "select id, original_timestamp, timestamp from email_opened order by id"


def test_the_times_of_the_world_are_read(settings: Settings, tmp_path: Path) -> None:
    result = load_bytes(settings, CASES.read_bytes(), tmp_path)
    assert (result.status, result.counts["events_loaded"], result.counts["values_discarded"]) == ("ok", 8, 0)
    wrong = "select id from email_opened where timestamp is distinct from expected_timestamp"
    assert select(settings, wrong) == []


def as_csv(texts: Sequence[str]) -> bytes:
    frame = pd.DataFrame({"messageId": range(len(texts)), "userId": "u", "event": "Email Opened", "timestamp": texts})
    return frame.to_csv(index=False).encode()


def as_parquet(texts: Sequence[str]) -> bytes:
    columns = {"messageId": [str(n) for n in range(len(texts))], "timestamp": list(texts)}
    columns |= {"userId": ["u"] * len(texts), "event": ["Email Opened"] * len(texts)}
    sink = io.BytesIO()
    parquet.write_table(pa.table(columns), sink)
    return sink.getvalue()


def as_json(texts: Sequence[str], **more: Any) -> bytes:
    lines = [
        {"type": "track", "event": "Email Opened", "userId": "u", "messageId": str(n), "timestamp": text, **more}
        for n, text in enumerate(texts)
    ]
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


WRITERS = {"x.csv": as_csv, "x.parquet": as_parquet, "x.jsonl": as_json}


def stored_times(settings: Settings) -> list[datetime]:
    found = select(settings, "select id::int, timestamp from email_opened order by 1")
    return [row["timestamp"] for row in found]


@pytest.mark.parametrize("name", WRITERS)
def test_all_files_give_the_same_answer_for_the_same_text(settings: Settings, tmp_path: Path, name: str) -> None:
    load_bytes(settings, WRITERS[name](list(FORMS)), tmp_path, name)
    assert stored_times(settings) == list(FORMS.values())


def test_flattened_events_and_those_by_shapes_have_the_same_times(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = as_json(list(FORMS), properties={"when": next(iter(FORMS))})
    by_shapes = everything(settings) if load_bytes(settings, written, tmp_path) else {}
    monkeypatch.setattr(transform, "MAX_ATTEMPTS", 0)
    apart = Settings(settings.database_url, "flat")
    migrate(apart)
    load_bytes(apart, written, tmp_path, "flat")
    assert everything(apart) == by_shapes
    assert stored_times(apart) == list(FORMS.values())


def test_the_endpoint_gives_the_same_answer(settings: Settings, tmp_path: Path) -> None:
    calls = [json.loads(line) for line in as_json(list(FORMS)).splitlines()]
    calls[-1]["timestamp"] = 1767323045000
    with serving(settings, tmp_path / "spool", "--no-load") as server:
        assert server.post("batch", {"batch": calls}).status_code == 200
    load(settings, [str(tmp_path / "spool" / settings.schema)], Options())
    found = select(settings, "select id::int, original_timestamp from email_opened order by 1")
    assert [row["original_timestamp"] for row in found] == [*list(FORMS.values())[:-1], WHEN]


@pytest.mark.parametrize("name", ["x.csv", "x.parquet", "x.jsonl"])
def test_what_is_ambiguous_is_kept_and_loads_with_a_format(settings: Settings, tmp_path: Path, name: str) -> None:
    content = WRITERS[name](["02/01/2026 03:04"])
    load_bytes(settings, content, tmp_path, name)
    detail = one(settings, "select reason, detail from rejected_events")
    assert (detail["reason"], "--time-format" in detail["detail"]) == ("no_time", True)
    options = Options(time_format="%d/%m/%Y %H:%M", time_zone="Europe/Paris")
    assert replay(settings, RejectFilter(), options).counts["events_loaded"] == 1
    expected = {"id": "0", "original_timestamp": at(2026, 1, 2, 2, 4), "timestamp": at(2026, 1, 2, 2, 4)}
    assert one(settings, STORED) == expected
    again = load_bytes(settings, content, tmp_path, f"again-{name}", time_format="%d/%m/%Y %H:%M", time_zone="CET")
    assert (again.counts["events_duplicate"], again.status) == (1, "ok")


def test_times_in_columns_without_a_zone_are_those_of_the_zone(settings: Settings) -> None:
    frame = pd.DataFrame(
        {
            "messageId": ["a"],
            "userId": ["u"],
            "event": ["Email Opened"],
            "timestamp": pd.to_datetime(["2026-07-02 03:04"]),
            "receivedAt": pd.to_datetime(["2026-07-02 03:04:01Z"]),
        }
    )
    url, schema = settings.database_url, settings.schema
    load_source(frame, database_url=url, schema=schema, time_zone="Europe/Paris")
    found = one(settings, "select timestamp, received_at from email_opened")
    assert found == {"timestamp": at(2026, 7, 2, 1, 4), "received_at": at(2026, 7, 2, 3, 4, 1)}


def test_a_property_becomes_a_time_by_iso_8601_only_and_takes_what_can_be_read(
    settings: Settings, tmp_path: Path
) -> None:
    columns = {"first": "2026-01-02T03:04:05Z", "digits": 1767323045, "text": "2026-01-02 03:04:05 UTC"}
    load_events(settings, [event(messageId="a", properties=columns)], tmp_path)
    later = [
        event(messageId="b", properties={"first": "Fri, 2 Jan 2026 03:04:05 GMT"}),
        event(messageId="c", properties={"first": 1767323045}),
    ]
    load_events(settings, later, tmp_path, "more")
    found = select(settings, "select id, first, pg_typeof(digits)::text, pg_typeof(text)::text from email_opened")
    assert {row["id"]: row["first"] for row in found} == {"a": WHEN, "b": WHEN, "c": None}
    kept = one(settings, "select event_id, property, value, reason from discarded_values")
    assert kept == {"event_id": "c", "property": "first", "value": "1767323045", "reason": "misfit"}
    kinds = "select pg_typeof(digits)::text as digits, pg_typeof(text)::text as text from email_opened limit 1"
    assert one(settings, kinds) == {"digits": "bigint", "text": "text"}


def test_values_that_waited_are_read_in_the_zone_of_the_load_that_writes_them(
    settings: Settings, tmp_path: Path
) -> None:
    properties = {"local_time": "2026-07-02 03:04:05"}
    load_bytes(settings, as_json(["2026-07-02T03:04:05Z"], properties=properties), tmp_path, max_columns=1)
    assert one(settings, "select reason from discarded_values") == {"reason": "no_column"}
    load_bytes(settings, b"", tmp_path, "empty", time_zone="Europe/Paris")
    assert one(settings, "select local_time from email_opened") == {"local_time": at(2026, 7, 2, 1, 4, 5)}
