"""What Amplitude receives, and how its answers are read; a server that keeps its rules."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loader.errors import UsageError
from loader.integrations.outcomes import DELIVERED, DeliveryError, EventRejected, Outcome, Refused, TooLarge, TryLater
from tests.support.loading import event
from tests.support.targets import Received, Reply, batch, integration, target
from tests.support.vendors import FAULTS, Vendor, check_each_once, depth, events, forward, reply

KEY = "0123456789abcdef0123456789abcdef"
#: Amplitude, "HTTP V2 API", "Invalid IDs that result in a 400 error".
INVALID_IDS = {
    *("anonymous", "nil", "none", "null", "n/a", "na", "undefined", "unknown", "", "{}", "lmy47d", "0", "-1"),
    "00000000-0000-0000-0000-000000000000",
}


class Amplitude(Vendor):
    """Amplitude, "HTTP V2 API": limits, and answers that name the first wrong event for each field."""

    marker = b'"insert_id":'

    def take(self, request: Received, body: bytes) -> Reply:
        assert request.headers["content-type"] == "application/json"
        if request.path not in {"/2/httpapi", "/batch"}:
            return reply(404)
        if len(body) > 1 << 20:
            return reply(413, code=413, error="Payload too large")
        call = json.loads(body)
        if call["api_key"] != KEY:
            return reply(400, code=400, error=f"Invalid API key: {call['api_key']}")
        if len(call["events"]) >= 2000:
            return reply(413, code=413, error="Payload too large")
        wrong: dict[str, dict[str, list[int]]] = {"events_with_missing_fields": {}, "events_with_invalid_fields": {}}
        for index, item in enumerate(call["events"]):
            kind, field = self._check(item, call.get("options", {}).get("min_id_length", 5))
            if field:
                wrong[kind].setdefault(field, [index])
        if any(wrong.values()):
            return reply(400, code=400, error="Invalid field values on some events", **wrong)
        for item in call["events"]:
            self.store((item.get("device_id") or f"of {item['user_id']}", item["insert_id"]), item)
        return reply(200, code=200, events_ingested=len(call["events"]), payload_size_bytes=len(body))

    def _check(self, item: dict[str, Any], min_id_length: int) -> tuple[str, str]:
        ids = [item[name] for name in ("user_id", "device_id") if name in item]
        if not item.get("event_type"):
            return "events_with_missing_fields", "event_type"
        if not any(len(value) >= min_id_length and value.lower() not in INVALID_IDS for value in ids):
            return "events_with_missing_fields", "user_id"
        if type(item["time"]) is not int:
            return "events_with_invalid_fields", "time"
        if depth(item["event_properties"]) > 40:
            return "events_with_invalid_fields", "event_properties"
        assert all(len(value) <= 1024 for value in ids), "a cut id is another person"
        assert isinstance(item.get("ip", ""), str)
        return "", ""


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": value}
    return value


def test_an_event_has_its_names_ids_time_and_campaign() -> None:
    sample = event(
        messageId="m-1",
        userId="7",
        anonymousId="anna-1",
        properties={"campaign_id": "c1", "link_name": "top", "price": 1.5},
        context={"campaign": {"source": "mail"}, "ip": "198.51.100.7", "userAgent": "Mozilla"},
    )
    with target(Amplitude()) as place:
        made = integration("amplitude", KEY, url=place.url)
        assert made.deliver(batch(made, sample)) == [DELIVERED]
    (request,) = place.requests
    assert request.path == "/2/httpapi"
    assert request.json == {
        "api_key": KEY,
        "options": {"min_id_length": 1},
        "events": [
            {
                "user_id": "7",
                "device_id": "anna-1",
                "event_type": "Email Opened",
                "time": 1735689602000,
                "insert_id": "m-1",
                "event_properties": {"utm_source": "mail", "campaign_id": "c1", "link_name": "top", "price": 1.5},
                "ip": "198.51.100.7",
                "user_agent": "Mozilla",
            }
        ],
    }


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ({}, "https://api2.amplitude.com/2/httpapi"),
        ({"region": "eu"}, "https://api.eu.amplitude.com/2/httpapi"),
        ({"region": "eu", "api": "batch"}, "https://api.eu.amplitude.com/batch"),
    ],
)
def test_the_preview_names_the_address_and_hides_the_key(given: dict[str, str], url: str) -> None:
    made = integration("amplitude", KEY, **given)
    text = made.preview(batch(made, event()))
    assert text.startswith(f"POST {url}\n")
    assert '"event_type":"Email Opened"' in text
    assert KEY not in text


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"userId": None}, "no_identity"),
        ({"userId": "null", "anonymousId": "{}"}, "no_identity"),
        ({"userId": "x" * 1025}, "id_too_long"),
        ({"event": " "}, "no_name"),
        ({"event": "$identify"}, "reserved_name"),
        ({"timestamp": None, "originalTimestamp": None, "sentAt": None, "receivedAt": "x"}, "no_time"),
    ],
)
def test_an_event_that_amplitude_cannot_take_is_rejected(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(EventRejected) as raised:
        batch(integration("amplitude", KEY), event(**fields))
    assert raised.value.reason == reason


def test_ids_below_the_minimum_length_are_left_out() -> None:
    made = integration("amplitude", KEY, min_id_length="5")
    (body,) = batch(made, event(userId="7", anonymousId="anna-1")).bodies
    assert '"user_id"' not in body.decode()
    with pytest.raises(EventRejected):
        batch(made, event(userId="7"))


def test_events_that_an_answer_names_are_rejected_and_the_others_delivered_at_once() -> None:
    vendor = Amplitude()
    samples = [event(messageId=f"m{number}", properties=nested(1 + 50 * (number in {1, 3}))) for number in range(5)]
    with target(vendor) as place:
        made = integration("amplitude", KEY, url=place.url)
        outcomes = made.deliver(batch(made, *samples))
    assert [outcome.status for outcome in outcomes] == ["delivered", "rejected", "delivered", "rejected", "delivered"]
    assert "event_properties" in outcomes[1].answer
    assert sorted(key for _, key in vendor.stored) == ["m0", "m2", "m4"]
    assert set(vendor.times_stored.values()) == {1}


def throttling(body: dict[str, Any]) -> Callable[[Received], Reply]:
    """Answer once that events are throttled, then as Amplitude."""
    vendor, answers = (
        Amplitude(),
        iter([reply(429, code=429, error="Too many requests for some devices and users", **body)]),
    )
    return lambda request: next(answers, None) or vendor(request)


def test_a_throttled_person_waits_30_seconds_with_all_later_events_and_others_go_on() -> None:
    samples = [event(messageId=f"m{number}", userId=user) for number, user in enumerate(("a", "b", "b", "a"))]
    with target(throttling({"throttled_users": {"b": 31}, "throttled_events": [1], "eps_threshold": 30})) as place:
        made = integration("amplitude", KEY, url=place.url)
        outcomes = made.deliver(batch(made, *samples))
    assert [outcome.status for outcome in outcomes] == ["delivered", "retry", "retry", "delivered"]
    assert {(outcome.reason, outcome.retry_after) for outcome in outcomes[1:3]} == {("throttled", 30)}
    assert [item["insert_id"] for item in place.requests[1].json["events"]] == ["m0", "m3"]


def test_a_person_above_the_daily_quota_waits_for_an_hour() -> None:
    with target(throttling({"exceeded_daily_quota_users": {"a": 500_001}, "throttled_events": [0]})) as place:
        made = integration("amplitude", KEY, url=place.url)
        first, second = made.deliver(batch(made, event(userId="a"), event(messageId="m2", userId="b")))
    assert (first.status, first.reason, first.retry_after) == ("retry", "daily_quota", 3600)
    assert second == DELIVERED


def test_silenced_devices_are_rejected() -> None:
    body = {
        "code": 400,
        "error": "Events silenced for device_id",
        "silenced_events": [1, 99, "x"],
        "throttled_events": [],
    }
    vendor, answers = Amplitude(), iter([reply(400, **body)])
    with target(lambda request: next(answers, None) or vendor(request)) as place:
        made = integration("amplitude", KEY, url=place.url)
        first, second = made.deliver(batch(made, event(), event(messageId="m2")))
    assert (first, second.status, second.reason) == (DELIVERED, "rejected", "silenced")


def test_if_the_rest_of_a_request_fails_it_is_tried_again() -> None:
    answers = iter([reply(400, code=400, error="x", events_with_invalid_fields={"time": [0]}), Reply(503)])
    with target(lambda _: next(answers)) as place:
        made = integration("amplitude", KEY, url=place.url)
        first, second = made.deliver(batch(made, event(), event(messageId="m2")))
    assert first.status == "rejected"
    assert second == Outcome("retry", "server_error", "{}", None, 503)


@pytest.mark.parametrize(
    ("answer", "error", "reason"),
    [
        (reply(400, code=400, error="Invalid API key: x"), TryLater, "unauthorized"),
        (reply(400, code=400, error="Invalid JSON request body"), Refused, "refused"),
        (reply(400, code=400, events_with_invalid_fields=[1]), Refused, "refused"),
        (Reply(400, b"<html>"), Refused, "refused"),
        (reply(413, code=413), TooLarge, "too_large"),
        (Reply(429, b"", {"Retry-After": "9"}), TryLater, "throttled"),
        (Reply(200, b"<html>"), TryLater, "unexpected_answer"),
        (Reply(200, b"[]"), TryLater, "unexpected_answer"),
        (Reply(200, b'{"code": 500}'), TryLater, "unexpected_answer"),
        (Reply(502), TryLater, "server_error"),
        (Reply(403), TryLater, "forbidden"),
    ],
)
def test_an_answer_that_names_no_event_is_about_the_request(
    answer: Reply, error: type[DeliveryError], reason: str
) -> None:
    with target(lambda _: answer) as place:
        made = integration("amplitude", KEY, url=place.url)
        with pytest.raises(error) as raised:
            made.deliver(batch(made, event()))
    assert raised.value.reason == reason
    assert raised.value.retry_after == (9 if reason == "throttled" else None)


def test_a_text_that_the_firewall_refuses_is_found_and_rejected() -> None:
    vendor = Amplitude()

    def answer(request: Received) -> Reply:
        return Reply(403, b"Forbidden") if b"/etc/passwd" in request.body else vendor(request)

    samples = [event(messageId=f"m{number}") for number in range(9)]
    samples[4]["properties"] = {"link_url": "https://example.com/?../../etc/passwd"}
    with target(answer) as place:
        delivered, rejected = forward(integration("amplitude", KEY, url=place.url), samples)
    assert rejected == {"m4": "forbidden"}
    assert delivered == ["m0", "m1", "m2", "m3", "m5", "m6", "m7", "m8"]


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"region": "in"}, "region"),
        ({"events": "2000"}, "events"),
        ({"min_id_length": "0"}, "min_id_length"),
        ({"url": "amplitude.com"}, "url"),
    ],
)
def test_an_invalid_setting_is_refused(given: dict[str, str], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        integration("amplitude", KEY, **given)


@settings(max_examples=40, deadline=None)
@given(events(), st.lists(st.sampled_from(FAULTS), max_size=6))
def test_each_event_is_stored_once_or_rejected_whatever_happens(sent: list[dict[str, Any]], faults: list[str]) -> None:
    vendor = Amplitude(faults)
    with target(vendor) as place:
        delivered, rejected = forward(integration("amplitude", KEY, url=place.url, events="3"), sent)
    check_each_once(vendor, sent, delivered, rejected)


def test_requests_stay_within_the_limits() -> None:
    vendor = Amplitude()
    sent = [event(messageId=f"m{number}", properties={"text": "x" * 3000}) for number in range(1000)]
    with target(vendor) as place:
        delivered, rejected = forward(integration("amplitude", KEY, url=place.url), sent)
    assert (len(delivered), rejected) == (1000, {})
    assert len(place.requests) == 3
    assert all(len(request.body) <= 1 << 20 for request in place.requests)
