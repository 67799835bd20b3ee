"""A forwarder delivers the events of a spool: each of them, in order for each person, and what fails later or never."""

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from loader.config import Settings
from loader.forwarding import forwarder
from loader.forwarding.clock import Clock
from loader.forwarding.configuration import find_integration
from loader.forwarding.replay import retry_dead_letters
from loader.integrations.event import Event
from loader.integrations.outcomes import EventRejected
from loader.integrations.segment import Segment
from loader.schema.source import open_warehouse
from tests.support.forwarding import SimulatedClock, add, forward_events, received, spooling, state, write
from tests.support.loading import select
from tests.support.targets import Received, Reply, target


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SELLIGENT_HOME", str(tmp_path / "home"))


def sent(requests: list[Received]) -> list[Any]:
    return [item for request in requests for item in request.json["batch"]]


def test_all_events_arrive_once_and_in_order(settings: Settings, tmp_path: Path) -> None:
    with target() as place, spooling(tmp_path / "spool") as spool:
        add(settings, place.url, given={"events": "100"})
        write(spool, [received(n) for n in range(250)])
        assert forward_events(settings, tmp_path / "spool")
        write(spool, [received(n) for n in range(250, 300)])
        assert forward_events(settings, tmp_path / "spool")
        assert forward_events(settings, tmp_path / "spool")
        assert [item["messageId"] for item in sent(place.requests)] == [f"m{n}" for n in range(300)]
        assert [len(request.json["batch"]) for request in place.requests] == [100, 100, 50, 50]
    found = state(settings)
    assert (found["events_delivered"], found["lag_events"], found["lag_seconds"]) == (300, 0, 0)
    assert found["waiting_bytes"] == 0


def test_events_from_before_the_integration_was_added_are_not_sent(settings: Settings, tmp_path: Path) -> None:
    with target() as place, spooling(tmp_path / "spool") as spool:
        write(spool, [received(1)])
        add(settings, place.url)
        select(settings, "update integrations set created_at = now() returning 1")
        spool.append("selligent", json.dumps(received(2, receivedAt="2020-01-01T00:00:00Z")).encode() + b"\n", None)
        write(spool, [received(3)])
        assert forward_events(settings, tmp_path / "spool")
        assert [item["messageId"] for item in sent(place.requests)] == ["m3"]


def test_a_poison_event_is_set_aside_alone(settings: Settings, tmp_path: Path) -> None:
    def answer(request: Received) -> Reply:
        poisoned = any(item["messageId"] in {"m7", "m40"} for item in request.json["batch"])
        return Reply(400, b"field x of m7 is wrong") if poisoned else Reply()

    with target(answer) as place, spooling(tmp_path / "spool") as spool:
        add(settings, place.url)
        write(spool, [received(n) for n in range(100)])
        assert forward_events(settings, tmp_path / "spool")
        good = [r for r in place.requests if answer(r).status == 200]
        assert [item["messageId"] for item in sent(good)] == [f"m{n}" for n in range(100) if n not in {7, 40}]
    letters = select(
        settings, "select message_id, reason, status, answer, event_text from undelivered_events order by 1"
    )
    assert [letter["message_id"] for letter in letters] == ["m40", "m7"]
    assert {(x["reason"], x["status"], x["answer"], x["event_text"]) for x in letters} == {
        ("refused", 400, "field x of m7 is wrong", "Email Opened")
    }
    assert state(settings)["undelivered_now"] == 2


def test_a_request_that_is_too_large_is_split(settings: Settings, tmp_path: Path) -> None:
    def answer(request: Received) -> Reply:
        return Reply(413) if len(request.json["batch"]) > 10 else Reply()

    with target(answer) as place, spooling(tmp_path / "spool") as spool:
        add(settings, place.url)
        write(spool, [received(n) for n in range(100)])
        assert forward_events(settings, tmp_path / "spool")
        good = [r for r in place.requests if answer(r).status == 200]
        assert [item["messageId"] for item in sent(good)] == [f"m{n}" for n in range(100)]


def test_a_target_that_is_away_for_a_week_gets_every_event_in_the_end(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batches that were tried for a day each are dead letters, which can be retried; all others wait in the log."""
    monkeypatch.setattr(forwarder, "FAILING_SECONDS", 3600)
    messages: list[str] = []
    week = 7 * 86_400.0

    def notify(message: str) -> bool:
        messages.append(message)
        return True

    def pass_time(waited: float) -> None:
        if waited > 2 * week:
            clock.stop()

    clock = SimulatedClock(pass_time)

    def answer(_: Received) -> Reply:
        return Reply(503, b"maintenance") if clock.waited < week else Reply()

    with target(answer) as place, spooling(tmp_path / "spool") as spool:
        add(settings, place.url, given={"events": "100"})
        write(spool, [received(n) for n in range(2000)])
        monkeypatch.setattr(forwarder, "POLL_SECONDS", 3600)
        forward_events(settings, tmp_path / "spool", clock=clock, notify=notify, once=False)
        good = [item["messageId"] for item in sent(place.requests[-20:])]
        letters = [
            row["message_id"] for row in select(settings, "select message_id from undelivered_events order by 1")
        ]
        delivered = good[-(2000 - len(letters)) :]
        assert len(letters) in range(400, 900, 100)
        assert sorted(delivered + letters) == sorted(f"m{n}" for n in range(2000))
        with open_warehouse(settings) as warehouse:
            done = retry_dead_letters(warehouse, find_integration(warehouse, "segment"))
        assert (done.delivered, done.undelivered) == (len(letters), 0)
        assert sorted(item["messageId"] for item in sent(place.requests[-len(letters) // 100 :])) == letters
    assert state(settings)["undelivered_now"] == 0
    assert [("fails since" in text, "works again" in text) for text in messages] == [(True, False), (False, True)]


def test_a_full_disk_loses_nothing(settings: Settings, tmp_path: Path, disk: Path) -> None:
    with target() as place, spooling(disk / "spool") as spool:
        add(settings, place.url, given={"events": "10"})
        write(spool, [received(n) for n in range(20)])
        assert forward_events(settings, disk / "spool")
        write(spool, [received(n) for n in range(20, 50)])
        ballast = disk / "ballast"
        with suppress(OSError), ballast.open("wb") as file:
            while True:
                file.write(b"x" * 4096)
                file.flush()
        assert not forward_events(settings, disk / "spool", clock=SimulatedClock())
        ballast.unlink()
        assert forward_events(settings, disk / "spool")
    assert list(dict.fromkeys(item["messageId"] for item in sent(place.requests))) == [f"m{n}" for n in range(50)]


def test_while_the_database_is_away_events_are_delivered(settings: Settings, tmp_path: Path) -> None:
    away = replace(settings, database_url="postgresql://nobody@127.0.0.1:1/none")
    with target() as place, spooling(tmp_path / "spool") as spool:
        add(settings, place.url)
        with open_warehouse(settings) as warehouse:
            configuration = find_integration(warehouse, "segment")
            made = forwarder.Forwarder(
                settings, tmp_path / "spool" / "selligent", configuration, Clock(), lambda _: True, once=True
            )
            made._warehouse = warehouse
            made._open()
            warehouse._place = away.database_url, ""
            warehouse.close()
            write(spool, [received(n) for n in range(50)])
            made._repeat()
    assert [item["messageId"] for item in sent(place.requests)] == [f"m{n}" for n in range(50)]
    assert state(settings)["updated_at"] is None
    assert forward_events(settings, tmp_path / "spool")
    assert state(settings)["events_delivered"] == 50
    assert len(place.requests) == 1


def test_an_event_that_an_integration_cannot_encode_is_set_aside_alone(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = Segment.encode

    def fail(made: Segment, event: Event) -> bytes:
        if event.message_id == "m2":
            raise KeyError("no such field")
        if event.message_id == "m3":
            raise EventRejected("no_price", "it has no price")
        return encode(made, event)

    monkeypatch.setattr(Segment, "encode", fail)
    with target() as place, spooling(tmp_path / "spool") as spool:
        add(settings, place.url)
        write(spool, [received(n, properties={"a": "x" * (40_000 if n == 4 else 1)}) for n in range(6)])
        assert forward_events(settings, tmp_path / "spool")
        assert [item["messageId"] for item in sent(place.requests)] == ["m0", "m1", "m5"]
    letters = select(settings, "select message_id, reason, answer, attempts from undelivered_events order by 1")
    assert [tuple(letter.values()) for letter in letters] == [
        ("m2", "unexpected", "KeyError", 0),
        ("m3", "no_price", "it has no price", 0),
        ("m4", "too_large", "40,131 bytes; 32,728 are allowed", 0),
    ]
