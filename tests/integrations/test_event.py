"""Events are read as the loader reads them: batch calls, repeated names, ids, numbers, times."""

import json
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from loader.config import Settings
from loader.integrations.event import Event, read_events
from tests.support.loading import event, load_bytes, select


def as_json(line: bytes) -> list[Any]:
    return [json.loads(found.line) for found in read_events(line)]


def test_the_shared_fields_of_a_batch_call_are_merged_into_its_events() -> None:
    body = {
        "context": {"ip": "1.2.3.4", "traits": {"email": "a@example.com", "plan": 1}},
        "integrations": {"All": False},
        "sentAt": "2025-01-01T00:00:00Z",
        "batch": [
            {"event": "a", "userId": "u", "context": {"traits": {"plan": 2}, "ip": None}},
            {"event": "b", "userId": "u", "integrations": {"Amplitude": True}, "sentAt": None, "type": "track"},
            3,
        ],
    }
    first, second = as_json(json.dumps(body).encode())
    assert first["context"] == {"traits": {"email": "a@example.com", "plan": 2}}
    assert (first["integrations"], second["integrations"]) == ({"All": False}, {"All": False, "Amplitude": True})
    assert first["sentAt"] == second["sentAt"] == "2025-01-01T00:00:00Z"


@pytest.mark.parametrize(
    "line", [b'{"event":"first","userId":"u","event":"second"}', b'{"event": "first", "userId": "u", "event":"second"}']
)
def test_the_first_of_repeated_names_counts(line: bytes) -> None:
    (found,) = read_events(line)
    assert found.name == "first"


def test_numbers_keep_their_spelling() -> None:
    line = b'{"event":"a","userId":12345678901234567890123,"properties":{"a":1.10,"b":1e400,"c":0.1e1}}'
    (found,) = read_events(line)
    assert found.line == line
    assert found.user_id == "12345678901234567890123"
    assert found.properties["c"] == 1.0


#: Events without an id, in spellings that senders use.
WITHOUT_ID = [
    b'{"event":"Email Opened","userId":"u1","sentAt":"2025-01-01T00:00:01Z","properties":{"a":1.50,"b":[1, 2]}}',
    b'{ "event" : "Email Opened", "userId":"u1" ,"sentAt":"2025-01-01T00:00:01Z",\t"properties":{"a \\" b": " c  d "}}',
    b'{"event":"Email Opened","userId":"u\\u00e9","sentAt":"2025-01-01T00:00:01Z","properties":{"f":1.0,"h":1e3}}',
]


@pytest.mark.parametrize("line", WITHOUT_ID)
def test_an_event_without_id_has_the_id_of_the_warehouse(settings: Settings, tmp_path: Path, line: bytes) -> None:
    load_bytes(settings, line + b"\n", tmp_path)
    (stored,) = select(settings, "select id from selligent.tracks")
    (found,) = read_events(line)
    assert found.message_id == stored["id"]


def test_the_time_of_an_event_is_the_first_that_it_has() -> None:
    (found,) = read_events(json.dumps(event(timestamp=None)).encode())
    assert found.timestamp == "2025-01-01T00:00:00.000Z"
    (found,) = read_events(json.dumps(event()).encode())
    assert found.timestamp == "2025-01-01T00:00:02.000Z"


def read(**fields: Any) -> Event:
    (found,) = read_events(json.dumps(event(**fields)).encode())
    return found


FAR = "2020-01-01T00:00:00Z"


def at(second: int) -> str:
    return f"2025-01-01T00:00:{second:02}Z"


@pytest.mark.parametrize(
    ("fields", "second"),
    [
        ({"timestamp": at(2), "originalTimestamp": at(0), "sentAt": at(1), "receivedAt": at(9)}, 2),
        ({"timestamp": None, "originalTimestamp": at(0), "sentAt": at(1), "receivedAt": at(9)}, 8),
        ({"timestamp": at(0), "originalTimestamp": None, "sentAt": at(1), "receivedAt": at(9)}, 8),
        ({"timestamp": at(5), "originalTimestamp": None, "sentAt": None, "receivedAt": at(9)}, 5),
        ({"timestamp": at(5), "originalTimestamp": None, "sentAt": FAR, "receivedAt": at(9)}, 5),
        ({"timestamp": at(7), "originalTimestamp": at(5), "sentAt": FAR, "receivedAt": at(9)}, 5),
        ({"timestamp": at(7), "originalTimestamp": "2082-01-01T00:00:00Z", "sentAt": FAR, "receivedAt": at(9)}, 9),
        ({"timestamp": "1999-01-01T00:00:00Z", "originalTimestamp": None, "sentAt": FAR, "receivedAt": at(9)}, 9),
        ({"timestamp": "soon", "originalTimestamp": None, "sentAt": at(1), "receivedAt": at(9)}, 9),
        ({"timestamp": None, "originalTimestamp": None, "sentAt": at(1), "receivedAt": None}, 1),
    ],
)
def test_the_moment_is_that_of_the_warehouse(fields: dict[str, Any], second: int) -> None:
    assert read(**fields).moment == datetime(2025, 1, 1, 0, 0, second, tzinfo=UTC)


def test_without_a_readable_time_there_is_no_moment() -> None:
    assert read(timestamp=None, originalTimestamp=None, sentAt=None, receivedAt=None).moment is None


@pytest.mark.parametrize(
    "text", ["null", "0", " Anonymous ", "[object Object]", "00000000-0000-0000-0000-000000000000"]
)
def test_an_id_that_stands_for_nobody_is_unknown(text: str) -> None:
    found = read(userId=text, anonymousId="a1")
    assert (found.user_id, found.known_user_id, found.known_anonymous_id) == (text, None, "a1")


def test_the_campaign_of_the_context_becomes_properties() -> None:
    found = read(context={"campaign": {"name": "May", "source": "mail", "id": 7}}, properties={"utm_source": "own"})
    assert found.utm_properties == {"utm_campaign": "May", "utm_source": "own"}
    assert read(context={"campaign": "May"}).utm_properties == {}


def test_half_of_a_surrogate_pair_becomes_a_replacement_character() -> None:
    (found,) = read_events(rb'{"event":"a","properties":{"b":"\ud83d","c":"\ud83d\ude00"}}')
    assert found.properties == {"b": "\ufffd", "c": "\U0001f600"}


def test_the_moment_is_the_time_in_the_warehouse_for_each_combination_of_fields(
    settings: Settings, tmp_path: Path
) -> None:
    values: dict[str, list[str | None]] = {
        "timestamp": [None, at(5), "soon", FAR],
        "originalTimestamp": [None, at(0), "2082-01-01T00:00:00Z"],
        "sentAt": [None, at(1), "soon", FAR],
        "receivedAt": [at(9), "1735689609000"],
    }
    samples = [
        event(messageId=f"m{number}", **dict(zip(values, combination, strict=True)))
        for number, combination in enumerate(product(*values.values()))
    ]
    load_bytes(settings, b"".join(json.dumps(sample).encode() + b"\n" for sample in samples), tmp_path)
    stored = {row["id"]: row["timestamp"] for row in select(settings, "select id, timestamp from tracks")}
    assert len(stored) == len(samples)
    differing = [
        (sample, stored[sample["messageId"]])
        for sample in samples
        if read_events(json.dumps(sample).encode())[0].moment != stored[sample["messageId"]]
    ]
    assert differing == []
