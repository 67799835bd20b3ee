"""What Google Analytics receives, and how its answers are read; a server that keeps its rules."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loader.errors import UsageError
from loader.integrations.ga4 import RESERVED_EVENTS
from loader.integrations.outcomes import DELIVERED, DeliveryError, EventRejected, Refused, TooLarge, TryLater
from loader.integrations.protocol import Integration
from tests.support.loading import event
from tests.support.targets import Received, Reply, batch, integration, target
from tests.support.vendors import Vendor, events, forward, reply

SECRET = "aB3_dE6-gH9jK2mN5pQ8rT"
STREAM = "G-ABC123DEF4"
#: Faults after which the target has not taken the request. (It has no key for repeats, and a 2xx is not repeated.)
FAULTS = ("busy", "wait", "error", "dropped", "large", "none")


class Analytics(Vendor):
    """The Measurement Protocol: limits; it answers 204 to everything, so `broken` has what it would drop."""

    marker = b'"timestamp_micros":'

    def __init__(self, faults: Any = ()) -> None:
        super().__init__(faults)
        self.broken: list[str] = []

    def take(self, request: Received, body: bytes) -> Reply:
        parts = urlsplit(request.path)
        call = json.loads(body)
        problems = list(check(call, len(body)))
        if parse_qs(parts.query) != {"measurement_id": [STREAM], "api_secret": [SECRET]}:
            problems.append("query")
        if parts.path == "/debug/mp/collect":
            assert call["validation_behavior"] == "ENFORCE_RECOMMENDATIONS"
            return reply(200, validationMessages=[{"description": text} for text in problems])
        self.broken += problems
        for item in call["events"]:
            self.store((call["client_id"], json.dumps(item, sort_keys=True)), item)
        return Reply(204, b"")


def check(call: dict[str, Any], size: int) -> Any:
    """Yield what is wrong with a request."""
    if not call.get("client_id"):
        yield "client_id"
    if size > 130_000 or len(call["events"]) > 25:
        yield "size"
    if len(call.get("user_id", "")) > 256:
        yield "user_id"
    oldest = (datetime.now(UTC) - timedelta(hours=72)).timestamp() * 1e6
    for item in call["events"]:
        if not re.fullmatch("[A-Za-z][A-Za-z0-9_]{0,39}", item["name"]) or item["name"] in RESERVED_EVENTS:
            yield f"name {item['name']}"
        if item["name"].startswith(("_", "ga_", "google_", "firebase_")):
            yield f"prefix {item['name']}"
        if item["timestamp_micros"] < oldest:
            yield "timestamp_micros"
        if len(item["params"]) > 25:
            yield "too many"
        for name, value in item["params"].items():
            if not re.fullmatch("[A-Za-z][A-Za-z0-9_]{0,39}", name) or name.startswith(("ga_", "google_", "firebase_")):
                yield f"parameter {name}"
            if not isinstance(value, str | int | float) or (isinstance(value, str) and len(value) > 100):
                yield f"value of {name}"


def ago(hours: float) -> str:
    return (datetime.now(UTC) - timedelta(hours=hours)).isoformat()


def recent(**fields: Any) -> dict[str, Any]:
    return event(**{"timestamp": ago(1), **fields})


def analytics(url: str = "", **given: str) -> Integration:
    return integration("ga4", SECRET, measurement_id=STREAM, url=url, **given)


def test_an_event_has_the_name_of_its_table_and_its_properties_as_parameters() -> None:
    properties = {"campaign_id": "c1", "price": 1.5, "isNew": True, "a": {"b": "x" * 200}, "tags": [1], "none": None}
    vendor = Analytics()
    with target(vendor) as place:
        made = analytics(place.url)
        assert made.deliver(batch(made, recent(properties=properties))) == [DELIVERED]
    call = place.requests[0].json
    assert call["user_id"] == "u1"
    assert re.fullmatch(r"\d+\.\d+", call["client_id"])
    (sent,) = call["events"]
    assert sent["name"] == "email_opened"
    assert sent["params"] == {"campaign_id": "c1", "price": 1.5, "is_new": "true", "a_b": "x" * 100, "tags": "[1]"}
    assert not vendor.broken


def test_a_request_has_the_next_events_of_one_person_with_an_id_that_stays() -> None:
    with target(Analytics()) as place:
        made = analytics(place.url)
        users = ["a", "a", "b", "a", None]
        samples = [recent(messageId=f"m{n}", userId=user, anonymousId="x") for n, user in enumerate(users)]
        assert made.deliver(batch(made, *samples)) == [DELIVERED] * 5
    calls = [request.json for request in place.requests]
    assert [call.get("user_id") for call in calls] == ["a", "b", "a", None]
    assert [len(call["events"]) for call in calls] == [2, 1, 1, 1]
    assert calls[0]["client_id"] == calls[2]["client_id"] != calls[1]["client_id"]


def test_the_client_id_can_be_an_option_of_the_event() -> None:
    made = analytics()
    text = made.preview(batch(made, recent(integrations={"Google Analytics 4": {"clientId": "GA1.2.3.4"}})))
    assert '"client_id":"GA1.2.3.4"' in text


@pytest.mark.parametrize(
    ("region", "host"), [("us", "www.google-analytics.com"), ("eu", "region1.google-analytics.com")]
)
def test_the_preview_names_the_address_and_hides_the_secret(region: str, host: str) -> None:
    made = analytics(region=region)
    text = made.preview(batch(made, recent()))
    assert text.startswith(f"POST https://{host}/mp/collect?measurement_id={STREAM}&api_secret=********\n")
    assert SECRET not in text


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"event": "2FA"}, "invalid_name"),
        ({"event": "Ü"}, "invalid_name"),
        ({"event": "x" * 41}, "invalid_name"),
        ({"event": "Click"}, "reserved_name"),
        ({"event": "ga_x"}, "reserved_name"),
        ({"userId": "none"}, "no_identity"),
        ({"userId": "x" * 257}, "id_too_long"),
        ({"timestamp": None, "originalTimestamp": None, "sentAt": None, "receivedAt": None}, "no_time"),
    ],
)
def test_an_event_that_google_cannot_take_is_rejected(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(EventRejected) as raised:
        batch(analytics(), event(**fields))
    assert raised.value.reason == reason


def test_an_event_older_than_72_hours_is_rejected_when_it_is_sent() -> None:
    vendor = Analytics()
    with target(vendor) as place:
        made = analytics(place.url)
        sample = batch(made, recent(timestamp=ago(73)), recent(messageId="m2", timestamp=ago(71)))
        first, second = made.deliver(sample)
    assert (first.status, first.reason, second) == ("rejected", "too_old", DELIVERED)
    assert len(vendor.stored) == 1
    assert not vendor.broken


def test_of_many_properties_those_of_the_campaign_are_sent_first() -> None:
    properties = {f"p{number}": number for number in range(40)} | {"ga_x": 1, "gclid": "x", "link_id": "l", "_a": 1}
    (body,) = batch(analytics(), recent(properties=properties)).bodies
    names = list(json.loads(body)["params"])
    assert len(names) == 25
    assert names[:3] == ["link_id", "p0", "p1"]


def test_a_property_whose_name_is_reserved_is_left_out() -> None:
    names = ["ga_x", "google_x", "firebase_x", "gclid", "session_number", "1st", "x" * 41, "ü", "session_id"]
    (body,) = batch(analytics(), recent(properties=dict.fromkeys(names, "1"))).bodies
    assert json.loads(body)["params"] == {"session_id": "1"}


def test_what_was_answered_with_2xx_is_not_sent_again_when_a_later_request_fails() -> None:
    replies = iter([Reply(204, b""), Reply(503), Reply(204, b"")])
    with target(lambda _: next(replies)) as place:
        made = analytics(place.url)
        samples = [recent(messageId=f"m{number}", userId=f"u{number}") for number in range(3)]
        outcomes = made.deliver(batch(made, *samples))
    assert [(outcome.status, outcome.reason) for outcome in outcomes] == [
        ("delivered", ""),
        ("retry", "server_error"),
        ("retry", "server_error"),
    ]
    assert len(place.requests) == 2


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Reply(400), Refused),
        (Reply(413), TooLarge),
        (Reply(429), TryLater),
        (Reply(500), TryLater),
        (Reply(None), TryLater),
    ],
)
def test_a_failure_of_the_first_request_is_one_of_the_batch(answer: Reply, error: type[DeliveryError]) -> None:
    with target(lambda _: answer) as place:
        made = analytics(place.url)
        with pytest.raises(error):
            made.deliver(batch(made, recent()))


def test_a_sample_goes_to_the_validation_server() -> None:
    vendor = Analytics()
    with target(vendor) as place:
        made = analytics(place.url)
        (good,) = made.test(batch(made, recent()))
        (bad,) = made.test(batch(made, recent(timestamp=ago(80))))
    assert good.status == "delivered"
    assert "checks neither the API secret" in good.answer
    assert (bad.status, bad.reason) == ("rejected", "invalid")
    assert "timestamp_micros" in bad.answer
    assert not vendor.stored


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"measurement_id": "UA-1-1"}, "measurement_id"),
        ({"measurement_id": "G-1&api_secret=x"}, "measurement_id"),
        ({"measurement_id": STREAM, "value_length": "501"}, "value_length"),
        ({}, "measurement_id"),
    ],
)
def test_an_invalid_setting_is_refused(given: dict[str, str], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        integration("ga4", SECRET, **given)


@st.composite
def recent_events(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Events of which most are not too old, each with a parameter of its own."""
    made = draw(events())
    for number, item in enumerate(made):
        given = item.get("properties")
        item["properties"] = {**(given if isinstance(given, dict) else {}), "campaign_id": f"c{number}"}
        item["timestamp"] = ago(draw(st.sampled_from([-0.1, 1, 71, 100])))
    return made


@settings(max_examples=40, deadline=None)
@given(recent_events(), st.lists(st.sampled_from(FAULTS), max_size=6))
def test_each_event_is_stored_once_or_rejected_whatever_happens(sent: list[dict[str, Any]], faults: list[str]) -> None:
    vendor = Analytics(faults)
    with target(vendor) as place:
        delivered, rejected = forward(analytics(place.url), sent)
    assert not vendor.broken
    assert len(delivered) + len(rejected) == len(sent)
    assert len(vendor.stored) == len(delivered)
    assert set(vendor.times_stored.values()) <= {1}


def test_only_an_answer_that_is_lost_makes_a_repeat() -> None:
    vendor = Analytics(["none", "lost", "none"])
    with target(vendor) as place:
        delivered, _ = forward(analytics(place.url), [recent(messageId=f"m{n}", userId=f"u{n}") for n in range(3)])
    assert sorted(vendor.times_stored.values()) == [1, 1, 2]
    assert delivered == ["m0", "m1", "m2"]
