"""What PostHog receives, and how its answers are read; a server that keeps its rules."""

import gzip
import json
import uuid
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loader.errors import UsageError
from loader.integrations.outcomes import DELIVERED, DeliveryError, EventRejected, Refused, TooLarge, TryLater
from tests.support.loading import event
from tests.support.targets import Received, Reply, batch, integration, target
from tests.support.vendors import FAULTS, Vendor, check_each_once, events, forward, reply

KEY = "phc_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"


class PostHog(Vendor):
    """PostHog's service `capture`: it answers for the whole request, in plain text."""

    marker = b'"uuid":'
    refused_event = ""

    def take(self, request: Received, body: bytes) -> Reply:
        if len(body) > 20 * 1024 * 1024:
            return Reply(413, b"length limit exceeded")
        call = json.loads(body)
        if request.path != "/batch/" or call["api_key"] != KEY or any("token" in item for item in call["batch"]):
            return Reply(401, b"API key is not valid: invalid_token")
        assert "sent_at" not in call
        for item in call["batch"]:
            if not item["event"] or item["event"] == self.refused_event:
                return Reply(400, b"event submitted with an empty event name")
            if not item["distinct_id"].strip() or len(item["distinct_id"]) > 200:
                return Reply(400, b"event submitted with an empty distinct_id")
            if not isinstance(item["properties"].get("$cookieless_mode", False), bool):
                return Reply(400, b"invalid cookieless mode")
        for item in call["batch"]:
            key = uuid.UUID(item["uuid"])
            self.store((item["event"], item["timestamp"][:10], item["distinct_id"], key), item)
        return reply(200, status="Ok")


def test_an_event_has_its_name_ids_time_and_campaign() -> None:
    message_id = "29FC2962-6d9c-455d-95ad-95b84f09b9e4"
    context = {"campaign": {"name": "May"}, "ip": "198.51.100.7", "userAgent": "Mozilla"}
    with target(PostHog()) as place:
        made = integration("posthog", KEY, url=place.url)
        sample = event(messageId=message_id, properties={"campaign_id": "c1", "token": 1}, context=context)
        assert made.deliver(batch(made, sample)) == [DELIVERED]
    (request,) = place.requests
    assert request.headers["content-encoding"] == "gzip"
    assert json.loads(gzip.decompress(request.body)) == {
        "api_key": KEY,
        "historical_migration": False,
        "batch": [
            {
                "event": "Email Opened",
                "distinct_id": "u1",
                "uuid": message_id.lower(),
                "timestamp": "2025-01-01T00:00:02.000000Z",
                "properties": {
                    "utm_campaign": "May",
                    "campaign_id": "c1",
                    "$ip": "198.51.100.7",
                    "$raw_user_agent": "Mozilla",
                },
            }
        ],
    }


def test_without_an_address_posthog_takes_none_from_the_request() -> None:
    (body,) = batch(integration("posthog", KEY), event()).bodies
    assert json.loads(body)["properties"] == {"$ip": None, "$geoip_disable": True}


def test_an_event_of_nobody_makes_no_person() -> None:
    (body,) = batch(integration("posthog", KEY), event(userId="null")).bodies
    found = json.loads(body)
    assert found["distinct_id"] == found["uuid"]
    assert found["properties"]["$process_person_profile"] is False


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ({}, "https://us.i.posthog.com/batch/"),
        ({"region": "eu", "historical": "true"}, "https://eu.i.posthog.com/batch/"),
        ({"url": "https://posthog.example.com/"}, "https://posthog.example.com/batch/"),
    ],
)
def test_the_preview_names_the_address_and_hides_the_key(given: dict[str, str], url: str) -> None:
    made = integration("posthog", KEY, **given)
    text = made.preview(batch(made, event()))
    assert text.startswith(f"POST {url}\n")
    assert f'"historical_migration":{given.get("historical", "false")},' in text
    assert KEY not in text


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"userId": "x" * 201}, "id_too_long"),
        ({"event": None}, "no_name"),
        ({"event": "$create_alias"}, "reserved_name"),
        ({"timestamp": None, "originalTimestamp": None, "sentAt": None, "receivedAt": None}, "no_time"),
    ],
)
def test_an_event_that_posthog_cannot_take_is_rejected(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(EventRejected) as raised:
        batch(integration("posthog", KEY), event(**fields))
    assert raised.value.reason == reason


def test_the_event_because_of_which_a_request_is_refused_is_found() -> None:
    vendor = PostHog()
    vendor.refused_event = "Poison"
    sent = [event(messageId=f"m{number}", event="Poison" if number == 5 else "Email Opened") for number in range(9)]
    with target(vendor) as place:
        delivered, rejected = forward(integration("posthog", KEY, url=place.url), sent)
    assert rejected == {"m5": "refused"}
    check_each_once(vendor, sent, delivered, rejected)


@pytest.mark.parametrize(
    ("answer", "error", "reason"),
    [
        (reply(200, status=1, quota_limited=["events"]), TryLater, "quota_limited"),
        (Reply(200, b"<html>"), TryLater, "unexpected_answer"),
        (reply(200), TryLater, "unexpected_answer"),
        (Reply(400, b"failed to parse request"), Refused, "refused"),
        (Reply(401, b"API key is not valid"), TryLater, "unauthorized"),
        (Reply(402, b""), TryLater, "payment_required"),
        (Reply(413, b""), TooLarge, "too_large"),
        (Reply(429, b"billing limit reached"), TryLater, "throttled"),
        (Reply(503, b"transient error, please retry"), TryLater, "server_error"),
    ],
)
def test_an_answer_is_about_the_request(answer: Reply, error: type[DeliveryError], reason: str) -> None:
    with target(lambda _: answer) as place:
        made = integration("posthog", KEY, url=place.url)
        with pytest.raises(error) as raised:
            made.deliver(batch(made, event()))
    assert raised.value.reason == reason


def test_another_limit_than_that_of_events_is_not_ours() -> None:
    with target(lambda _: reply(200, status=1, quota_limited=["recordings"])) as place:
        made = integration("posthog", KEY, url=place.url)
        assert made.deliver(batch(made, event())) == [DELIVERED]


@pytest.mark.parametrize(
    ("name", "value"), [("region", "in"), ("historical", "yes"), ("events", "x"), ("url", "ftp://a")]
)
def test_an_invalid_setting_is_refused(name: str, value: str) -> None:
    with pytest.raises(UsageError, match=name):
        integration("posthog", KEY, **{name: value})


@settings(max_examples=40, deadline=None)
@given(events(), st.lists(st.sampled_from(FAULTS), max_size=6))
def test_each_event_is_stored_once_or_rejected_whatever_happens(sent: list[dict[str, Any]], faults: list[str]) -> None:
    vendor = PostHog(faults)
    with target(vendor) as place:
        delivered, rejected = forward(integration("posthog", KEY, url=place.url, events="3"), sent)
    check_each_once(vendor, sent, delivered, rejected)
