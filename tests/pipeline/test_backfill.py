"""Backfill of new properties and events, while readers hold locks and views depend on every table."""

import json
import re
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from loader.cli.main import run
from loader.config import Settings
from loader.migrate import migrate
from loader.monitoring.status import read_status
from loader.pipeline import backfill
from loader.pipeline.options import Options
from loader.schema.source import open_warehouse
from tests.support.loading import (
    content,
    event,
    held,
    load,
    load_bytes,
    load_events,
    load_file,
    ndjson,
    one,
    select,
    tables,
)

#: Values of each type, and a value of another type that a later event may have for the same property.
VALUES: list[Any] = [
    *(
        1,
        -0,
        2**63,
        12.50,
        1e20,
        1e-7,
        1.0,
        True,
        False,
        "",
        "5",
        "text",
        'q"\\ü\n',
        "2025-01-01T00:00:00Z",
        [],
        [1, "a"],
    ),
    *(
        "2025-01-01",
        "2025-01-01 10:00:00+02:00",
        {"deep": {"er": 1}},
        None,
        {},
        9007199254740993,
        "NaN",
        "{}",
        "null",
        float("nan"),
    ),
]


def everything(settings: Settings) -> dict[str, list[str]]:
    """Return all rows of the event tables, and the discarded values."""
    query = "select event_id, table_name, property, value, reason from discarded_values order by 1, 2, 3, 4, 5"
    return {**content(settings), "discards": [str(row) for row in select(settings, query)]}


def drifting(count: int) -> list[dict[str, Any]]:
    """Return events with properties and contexts of all types, and names that map to the same column."""
    events = []
    for i in range(count):
        value, other = VALUES[i % len(VALUES)], VALUES[i * 7 % len(VALUES)]
        properties = {
            "Big Score": other,
            "big_score": value,
            "n": i,
            f"p{i % 3}": other,
            "a c": 1,
            "a": {"c": i % 2 or None},
        }
        fields: dict[str, Any] = {"originalTimestamp": None, "timestamp": None} if i % 11 == 0 else {}
        events.append(
            event(
                messageId=f"m{i:05}",
                event=("Email Opened", "Order Completed")[i % 2],
                properties=properties,
                context={"ip": "::1", "screen": {"width": value}, "os": "x"},
                **fields,
            )
        )
    return events


def test_what_waited_for_its_column_is_placed_as_a_load_would_have_stored_it(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean = Settings(settings.database_url, "clean")
    migrate(clean)
    events = drifting(200)
    load_events(clean, events, tmp_path, "clean")
    monkeypatch.setattr(backfill, "BATCH_VALUES", 150)  # splits the values of an event between queries
    waiting = load_bytes(settings, ndjson(events), tmp_path, max_columns=14)
    assert (waiting.status, waiting.values_placed) == ("ok", 0)
    assert one(settings, "select count(*) from discarded_values where reason = 'no_column'")["count"] > 1000
    later = load_file(settings, tmp_path / "events")  # there are no new files
    assert later.status == "empty"
    assert later.values_placed > 500
    assert everything(settings) == everything(clean)
    assert load_file(settings, tmp_path / "events").values_placed == 0


def test_a_reader_with_a_lock_makes_values_wait_and_nobody_else(settings: Settings, tmp_path: Path) -> None:
    load_events(settings, [event()], tmp_path, "before")
    waits: list[float] = []
    stop = threading.Event()

    def read_again_and_again() -> None:
        assert settings.database_url
        with psycopg.connect(settings.database_url, autocommit=True) as reader:
            while not stop.is_set():
                begun = time.monotonic()
                reader.execute("select count(*) from selligent.email_opened")
                waits.append(time.monotonic() - begun)
                time.sleep(0.02)

    other = threading.Thread(target=read_again_and_again)
    new = event(messageId="m2", properties={"score": 1}, context={"screen": {"width": 5}})
    with held(settings, "email_opened", "tracks"):
        other.start()
        try:
            first = load_events(settings, [new], tmp_path)
            second = load_file(settings, tmp_path / "events")
        finally:
            stop.set()
            other.join()
    assert (first.status, first.counts["events_loaded"], second.values_placed) == ("ok", 1, 0)
    assert 1 < max(waits) < 2.5  # the loader waits for its lock timeout of 2 seconds
    waiting = select(settings, "select property, reason from discarded_values order by 1")
    assert [tuple(row.values()) for row in waiting] == [("context.screen.width", "no_column"), ("score", "no_column")]
    assert load_file(settings, tmp_path / "events").values_placed == 2
    assert select(settings, "select from discarded_values") == []
    row = (
        "select score, o.context_screen_width, t.context_screen_width as t from email_opened o join tracks t using (id)"
    )
    assert one(settings, f"{row} where id = 'm2'") == {"score": 1, "context_screen_width": 5, "t": 5}


def test_more_names_than_the_caps_allow_wait_until_these_are_raised(
    settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    properties = [event(messageId=f"p{i}", properties={f"p{i:04}": i}) for i in range(10_000)]
    names = [event(messageId=f"e{i}", event=f"Event {i:04}") for i in range(5_000)]
    result = load_events(settings, [*properties, *names], tmp_path)
    assert "event tables: close to the 200 that --max-tables allows" in caplog.text
    assert "columns of 'email_opened': more needed than the 500 that --max-columns allows" in caplog.text
    collections = [name for name in tables(settings) if name != "tracks"]
    columns = one(settings, "select * from email_opened where id = 'p0'")
    assert (len(collections), len(columns)) == (200, 500)
    assert (result.counts["events_loaded"], result.counts["events_rejected"]) == (10_194, 4_806)
    waiting = "select count(*) from discarded_values where reason = 'no_column'"
    placed = len([name for name in columns if name.startswith("p0")])
    assert one(settings, waiting)["count"] == 10_000 - placed
    raised = load(settings, [str(tmp_path / "events")], Options(max_columns=1000))
    assert raised.values_placed == 500
    assert one(settings, waiting)["count"] == 10_000 - placed - 500
    assert one(settings, "select p0700 from email_opened where id = 'p700'") == {"p0700": 700}


def test_properties_with_many_waiting_values_come_before_those_that_a_sender_invents(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = [event(messageId=f"m{n}", properties={f"a{n}": 1, "often": n}) for n in range(5)]
    load_bytes(settings, ndjson(events), tmp_path, max_columns=14)
    monkeypatch.setattr(backfill, "MAX_WAITING", 1)
    assert load_file(settings, tmp_path / "events").values_placed == 5
    assert one(settings, "select count(often) from email_opened") == {"count": 5}
    monkeypatch.setattr(backfill, "MAX_WAITING", 10)
    assert load_file(settings, tmp_path / "events").values_placed == 5


def test_status_tells_what_waits_since_when_and_what_to_do(settings: Settings, tmp_path: Path) -> None:
    load_bytes(settings, ndjson([event(properties={"a": 1, "event": 2})]), tmp_path, max_columns=17)
    with open_warehouse(settings) as warehouse:
        status = read_status(warehouse)
    ((waiting,), reasons) = status["pending"], status["discard_reasons"]
    assert (waiting["table"], waiting["property"], waiting["values"]) == ("email_opened", "a", 1)
    assert waiting["since"] <= datetime.now(UTC)
    assert "it has 17" in waiting["why"]
    assert "--max-columns" in waiting["todo"]
    assert {row["reason"]: row["values"] for row in reasons} == {"no_column": 1, "reserved": 1}
    assert all(row["todo"] for row in reasons)


def test_a_row_that_is_too_large_loads_with_the_values_it_has_room_for(settings: Settings, tmp_path: Path) -> None:
    wide = {f"p{i:03}": f"a text of {i:07} letters" for i in range(450)} | {"p449": [1.50, {"x": 1}]}
    events = [event(messageId=f"m{i}", properties={"p000": "a", "p449": "b"}) for i in range(30)]
    events[7] = event(messageId="m7", properties=wide)
    result = load_events(settings, events, tmp_path)
    assert (result.counts["events_loaded"], result.counts["events_rejected"]) == (30, 0)
    row = one(settings, "select * from email_opened where id = 'm7'")
    assert one(settings, "select p449 from email_opened where id = 'm6'") == {"p449": "b"}
    discards = select(settings, "select event_id, property, value, reason from discarded_values")
    assert {(item["event_id"], item["reason"]) for item in discards} == {("m7", "no_room")}
    stored = {name: json.dumps(value) for name, value in row.items() if name in wide and value is not None}
    assert len(stored) == 300
    assert stored | {item["property"]: item["value"] for item in discards} == {
        name: json.dumps(value).replace(": ", ":").replace(", ", ",") if isinstance(value, list) else json.dumps(value)
        for name, value in wide.items()
    }
    assert result.counts["values_discarded"] == 150


def test_values_that_have_no_room_wait_no_longer(settings: Settings, tmp_path: Path) -> None:
    wide = event(properties={f"p{i:03}": f"a text of {i:07} letters" for i in range(450)})
    load_bytes(settings, ndjson([wide, event(messageId="m2", properties={"p440": "b"})]), tmp_path, max_columns=200)
    assert load_file(settings, tmp_path / "events").values_placed == 1
    assert one(settings, "select p440 from email_opened where id = 'm2'") == {"p440": "b"}
    assert one(settings, "select p000 from email_opened where id = 'm1'") == {"p000": "a text of 0000000 letters"}
    reasons = select(settings, "select distinct event_id, reason from discarded_values")
    assert reasons == [{"event_id": "m1", "reason": "no_room"}]
    assert load_file(settings, tmp_path / "events").values_placed == 0


def test_figures_show_what_has_been_placed(settings: Settings, tmp_path: Path) -> None:
    opened = event(event="Email Machine Opened", properties={"email_id": "e1", "campaign_id": "c1"})
    (tmp_path / "events").write_bytes(ndjson([opened]))
    load = ["load", str(tmp_path / "events"), "--database-url", str(settings.database_url)]
    seen = "select email_id, campaign_id from email_events"
    assert run([*load, "--max-columns", "14"]) == 0
    assert one(settings, seen) == {"email_id": "", "campaign_id": "c1"}
    assert run([*load, "--max-columns", "15"]) == 0
    assert one(settings, seen) == {"email_id": "e1", "campaign_id": "c1"}


def views(settings: Settings) -> dict[str, Any]:
    # The tables behind the views are private: when figures are built again, new ones replace them.
    query = """
        select oid::regclass::text, oid, relkind from pg_class
        where relkind in ('r', 'v', 'm') and not starts_with(relname, 'stored_')
        order by 1
    """
    return {
        row["oid"]: (row["relkind"], row["text"])
        for row in select(settings, query.replace("::text,", "::text as text,"))
    }


def test_nothing_that_others_built_is_in_the_way_or_is_touched(settings: Settings, tmp_path: Path) -> None:
    assert settings.database_url
    load_events(settings, drifting(30), tmp_path, "first")
    with psycopg.connect(settings.database_url) as connection:
        connection.execute("create schema mine")
        for table in tables(settings):
            place = f'selligent."{table}"'
            connection.execute(f"create view mine.{table}_v as select * from {place}")
            connection.execute(
                f"create materialized view mine.{table}_m as select event, count(*) from {place} group by 1"
            )
        connection.execute("create view mine.tall as select * from selligent.campaigns")
    before = views(settings)
    columns = "select attrelid, attnum, attname, atttypid from pg_attribute where attrelid = any(%s) and attnum > 0"
    old = {tuple(row.values()) for row in select(settings, columns, list(before))}
    new = [item | {"messageId": f"new{i}"} for i, item in enumerate(drifting(120))]
    for i, item in enumerate(new):
        item["properties"] |= {"score": VALUES[i % len(VALUES)], f"other {i % 5}": "x"}
        item["event"] = ("Email Opened", "Email Bounced", "Order Completed", "Brand New")[i % 4]
    result = load_events(settings, new, tmp_path, "second")
    assert (result.status, result.counts["events_loaded"]) == ("ok", 120)
    assert run(["refresh", "--database-url", settings.database_url]) == 0
    after = views(settings)
    assert {oid: after.get(oid) for oid in before} == before
    assert old <= {tuple(row.values()) for row in select(settings, columns, list(before))}
    allowed = (
        r"(create (unique )?(index|table) if not exists|comment on|alter table \S+ add column if not exists) .*"
        r"|select create_distributed_table\("
    )
    assert [statement for statement in result.ddl if not re.match(allowed, statement.lower())] == []


KILLABLE = """
import loader.pipeline.backfill
loader.pipeline.backfill.BATCH_VALUES = 20
from loader.cli.main import main
main()
"""


@pytest.mark.slow
def test_values_are_placed_once_however_often_the_loader_is_killed(settings: Settings, tmp_path: Path) -> None:
    clean = Settings(settings.database_url, "clean")
    migrate(clean)
    events = drifting(300)
    load_events(clean, events, tmp_path, "clean")
    load_bytes(settings, ndjson(events), tmp_path, max_columns=17)
    command = [sys.executable, "-c", KILLABLE, "load", str(tmp_path / "events"), "--database-url"]
    query = f"select count(*) from {settings.ops}.discarded_values where reason = 'no_column'"
    with psycopg.connect(str(settings.database_url), autocommit=True) as connection:

        def count() -> int:
            ((values,),) = connection.execute(query.encode()).fetchall()
            return int(values)

        waiting = [count()]
        while waiting[-1] and len(waiting) < 40:
            with subprocess.Popen([*command, str(settings.database_url)], stdout=subprocess.DEVNULL) as process:
                while process.poll() is None and count() > waiting[-1] - 300:
                    time.sleep(0.005)
                process.kill()
            waiting.append(count())
    assert len(waiting) > 3
    assert everything(settings) == everything(clean)


def test_a_documented_property_that_had_to_wait_gets_a_column_of_text(settings: Settings, tmp_path: Path) -> None:
    load_events(settings, [event(event="Other", messageId="m0")], tmp_path, "table")
    with held(settings, "other"):
        load_events(settings, [event(event="Other", properties={"campaign_id": 4, "n": 4})], tmp_path)
    load_events(settings, [], tmp_path, "nothing")
    assert one(settings, "select campaign_id, n from other where id = 'm1'") == {"campaign_id": "4", "n": 4}
