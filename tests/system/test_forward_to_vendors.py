"""Events go from the spool to each vendor by the real forwarder, through faults, and from an archive to a warehouse."""

import gzip
import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from loader.config import Settings
from loader.forwarding.configuration import find_integration
from loader.forwarding.replay import read_kept_segments, replay
from loader.inputs.discovery import Days
from loader.integrations import http
from loader.pipeline.options import Options
from loader.schema.source import open_warehouse
from tests.conftest import clone
from tests.integrations import test_amplitude, test_ga4, test_mixpanel, test_posthog
from tests.support.forwarding import SimulatedClock, add, forward_events, received, spooling, state, write
from tests.support.loading import load, load_bytes, select
from tests.support.targets import Target, target
from tests.support.vendors import Vendor

VENDORS: dict[str, tuple[type[Vendor], str, dict[str, str]]] = {
    "amplitude": (test_amplitude.Amplitude, test_amplitude.KEY, {"events": "10"}),
    "mixpanel": (test_mixpanel.Mixpanel, test_mixpanel.TOKEN, {"events": "10"}),
    "posthog": (test_posthog.PostHog, test_posthog.KEY, {"events": "10"}),
    "ga4": (test_ga4.Analytics, test_ga4.SECRET, {"measurement_id": test_ga4.STREAM}),
}
ADDRESS, IP, AGENT = "anna@example.com", "198.51.100.7", "Mozilla/5.0 (X11)"


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SELLIGENT_HOME", str(tmp_path / "home"))


def now(number: int, **fields: Any) -> dict[str, Any]:
    """Return an event that has just happened."""
    event = received(number, **fields)
    return {**event, "originalTimestamp": event["sentAt"]}


def forward_all(settings: Settings, spool: Path, kind: str) -> None:
    """Forward to the end, also after failures."""
    for _ in range(20):
        if forward_events(settings, spool, kind, clock=SimulatedClock()):
            return
    raise AssertionError("events are left")


def sent(place: Target) -> str:
    """Return all that a target has received, as text."""
    bodies = (gzip.decompress(r.body) if r.headers.get("content-encoding") else r.body for r in place.requests)
    return b"\n".join(bodies).decode()


@pytest.mark.parametrize("kind", VENDORS)
def test_each_event_arrives_once_through_faults_and_what_cannot_be_sent_is_kept(
    kind: str, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "READ_SECONDS", 0.3)
    server, secret, given = VENDORS[kind]
    vendor = server(["error", "none", "wait", "dropped", "none", "hang", "busy", "large", "none"])
    events = [now(n, properties={"campaign_id": f"c{n}"}) for n in range(30)]
    events[7]["event"] = " "
    with target(vendor) as place, spooling(tmp_path / "spool") as spool:
        add(settings, place.url, kind, given, kind=kind, secret=secret)
        write(spool, events)
        forward_all(settings, tmp_path / "spool", kind)
    assert len(vendor.stored) == 29
    found = state(settings, kind)
    assert (found["events_delivered"], found["undelivered_now"], found["lag_events"]) == (29, 1, 0)
    (letter,) = select(settings, "select message_id, reason from undelivered_events")
    assert letter["message_id"] == "m7"
    assert letter["reason"] in {"no_name", "invalid_name"}


@pytest.mark.parametrize("is_allowed", [False, True])
@pytest.mark.parametrize("kind", VENDORS)
def test_personal_data_is_sent_only_if_that_is_allowed(
    kind: str, is_allowed: bool, settings: Settings, tmp_path: Path
) -> None:
    server, secret, given = VENDORS[kind]
    event = now(
        1,
        userId=None,
        anonymousId=ADDRESS,
        context={"ip": IP, "userAgent": AGENT, "traits": {"email": ADDRESS}},
        properties={"email": ADDRESS, "campaign_name": "May"},
    )
    with target(server()) as place, spooling(tmp_path / "spool") as spool:
        add(settings, place.url, kind, given, kind=kind, secret=secret, send_personal_data=is_allowed)
        write(spool, [event])
        forward_all(settings, tmp_path / "spool", kind)
    text = sent(place)
    assert "May" in text
    assert (ADDRESS in text) is is_allowed
    if kind != "ga4":  # to which no address of a device is sent
        assert (IP in text) is is_allowed
    if not is_allowed:
        assert AGENT not in text
        assert "example.com" not in text


@pytest.fixture
def another(server: str, template: str) -> Iterator[Settings]:
    with clone(server, template) as settings:
        yield settings


def archived(folder: Path) -> dict[str, list[str]]:
    """Return the ids of the events in each file of an archive."""
    return {
        path.relative_to(folder).as_posix(): [
            json.loads(line)["messageId"] for line in gzip.decompress(path.read_bytes()).splitlines()
        ]
        for path in sorted(folder.rglob("*.gz"))
    }


def tracks(settings: Settings) -> list[Any]:
    columns = "id, user_id, event, original_timestamp, sent_at, received_at, timestamp"
    return select(settings, f"select {columns} from tracks order by id")


def test_an_archive_that_is_written_twice_loads_to_the_same_rows(
    settings: Settings, another: Settings, tmp_path: Path
) -> None:
    events, logs = [received(n) for n in range(60)], tmp_path / "logs"
    with spooling(tmp_path / "spool") as spool:
        add(settings, str(logs), "s3", {"events": "25"}, kind="s3", secret="")
        write(spool, events[:40])
        forward_all(settings, tmp_path / "spool", "s3")
        (cursor,) = (tmp_path / "spool" / "selligent" / ".forward").glob("*.json")
        older = cursor.read_bytes()
        write(spool, events[40:])
        forward_all(settings, tmp_path / "spool", "s3")
        before = archived(logs)
        cursor.write_bytes(older)
        forward_all(settings, tmp_path / "spool", "s3")
    assert archived(logs) == before
    assert sorted(message_id for ids in before.values() for message_id in ids) == sorted(f"m{n}" for n in range(60))
    load_bytes(settings, b"".join(json.dumps(event).encode() + b"\n" for event in events), tmp_path)
    load(another, [str(logs)], Options())
    assert tracks(another) == tracks(settings)


def test_a_replay_of_some_days_does_not_replace_what_another_replay_has_written(
    settings: Settings, tmp_path: Path
) -> None:
    logs = tmp_path / "logs"
    events = [received(n, receivedAt=f"2025-01-0{1 + n}T12:00:00Z") for n in range(3)]
    with spooling(tmp_path / "spool") as spool:
        add(settings, str(logs), "s3", {}, kind="s3", secret="")
        write(spool, events)
        with open_warehouse(settings) as warehouse:
            configuration = find_integration(warehouse, "s3")
            for days, count in ((Days(), 3), (Days(last=date(2025, 1, 2)), 2), (Days(first=date(2025, 1, 2)), 2)):
                lines = read_kept_segments(tmp_path / "spool" / "selligent", days)
                assert replay(warehouse, configuration, lines, days).delivered == count
    assert {message_id for ids in archived(logs).values() for message_id in ids} == {"m0", "m1", "m2"}
