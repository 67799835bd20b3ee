"""Which events may be sent: the field `integrations`, exactly as Segment documents it."""

import json
from typing import Any

import pytest

from loader.config import Settings
from loader.forwarding.eligibility import is_valid, may_be_sent
from loader.integrations.event import Event, read_events
from loader.integrations.protocol import ALL_CALLS, TRACK_ONLY
from loader.pipeline.suppression import change_list, read_suppression_list
from loader.schema.source import open_warehouse
from tests.support.loading import event

NAMES = "Amplitude", "product-analytics"


def read(fields: Any) -> Event:
    (found,) = read_events(json.dumps(fields).encode())
    return found


@pytest.mark.parametrize(
    ("integrations", "expected"),
    [
        (None, True),
        ({}, True),
        ({"All": True}, True),
        ({"All": False}, False),
        ({"all": False}, True),
        ({"Amplitude": False}, False),
        ({"amplitude": False}, True),
        ({"AMPLITUDE": False}, True),
        ({"Mixpanel": False}, True),
        ({"All": False, "Amplitude": True}, True),
        ({"All": False, "amplitude": True}, False),
        ({"All": False, "Amplitude": {"session_id": 1}}, True),
        ({"All": True, "Amplitude": {}}, True),
        ({"All": False, "Amplitude": False}, False),
        ({"product-analytics": False}, False),
        ({"All": False, "product-analytics": True}, True),
        ({"Amplitude": True, "product-analytics": False}, False),
        ({"All": False, "Amplitude": None}, True),
        ("no object", True),
        ([False], True),
    ],
)
def test_the_field_integrations_turns_an_integration_on_and_off(integrations: Any, expected: bool) -> None:
    assert may_be_sent(read(event(integrations=integrations)), NAMES, ALL_CALLS) == expected


@pytest.mark.parametrize("call", sorted(ALL_CALLS))
def test_an_integration_gets_only_the_calls_that_it_takes(call: str) -> None:
    found = read(event(type=call))
    assert may_be_sent(found, NAMES, ALL_CALLS)
    assert may_be_sent(found, NAMES, TRACK_ONLY) == (call == "track")


def test_what_the_loader_rejects_is_not_sent() -> None:
    assert is_valid(read(event()))
    assert is_valid(read(event(type=None)))
    assert is_valid(read(event(userId=None, anonymousId="a")))
    assert not is_valid(read(event(userId=None)))
    assert not is_valid(read(event(userId="", anonymousId="")))
    assert not is_valid(read(event(event="")))
    assert not is_valid(read(event(type="other")))
    assert read_events(b'{"selligentLoaderReject":{"reason":"too_large","detail":null,"raw":"x"}}') == ()
    assert [read_events(line) for line in (b"[1]", b"nonsense", b"", b'"a"', b"\xff")] == [()] * 5


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"userId": "u2"}, False),
        ({"userId": "u3"}, True),
        ({"userId": None, "anonymousId": "Anna@Example.com"}, False),
        ({"context": {"traits": {"email": "anna@example.com"}}}, False),
        ({"type": "identify", "traits": {"email": " ANNA@example.com"}}, False),
        ({"context": {"traits": ["anna@example.com"]}, "traits": {"email": 7}}, True),
    ],
)
def test_suppressed_people_get_nothing(settings: Settings, fields: Any, expected: bool) -> None:
    with open_warehouse(settings) as warehouse, warehouse.transaction():
        change_list(warehouse, add=["u2", "anna@example.com"])
        listed = read_suppression_list(warehouse)
    assert may_be_sent(read(event(**fields)), NAMES, ALL_CALLS, listed) == expected
