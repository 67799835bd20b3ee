"""What Mixpanel receives, and how its answers are read; a server that keeps its rules."""

import base64
import gzip
import json
import re
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loader.errors import UsageError
from loader.integrations.outcomes import DELIVERED, DeliveryError, EventRejected, Refused, TooLarge, TryLater
from tests.support.loading import event
from tests.support.targets import Received, Reply, batch, integration, target
from tests.support.vendors import FAULTS, Vendor, check_each_once, depth, events, forward, reply

ACCOUNT = "forwarder.a1b2c3.mp-service-account:s3cr3tPassw0rd"
TOKEN = "0123456789abcdef0123456789abcdef"
#: Mixpanel, "Import Events", properties.distinct_id.
DISALLOWED = {
    *("00000000-0000-0000-0000-000000000000", "anon", "anonymous", "nil", "none", "null", "n/a", "na", "undefined"),
    *("unknown", "<nil>", "0", "-1", "true", "false", "[]", "{}"),
}


class Mixpanel(Vendor):
    """Mixpanel, "Import Events": limits, validation with strict=1, what is a duplicate."""

    marker = b'"$insert_id":'

    def take(self, request: Received, body: bytes) -> Reply:
        parts = urlsplit(request.path)
        query = parse_qs(parts.query)
        logins = {f"{ACCOUNT}": ["42"], f"{TOKEN}:": None}
        login = base64.b64decode(request.headers["authorization"].removeprefix("Basic ")).decode()
        if parts.path != "/import" or login not in logins or query.get("project_id") != logins[login]:
            return reply(401, code=401, error="Unauthorized", status="Unauthorized")
        assert query["strict"] == ["1"]
        if len(body) > 2 << 20:
            return reply(413, code=413, error="request exceeds max limit of 2097152 bytes")
        items = json.loads(body)
        assert len(items) <= 2000
        failed = []
        for index, item in enumerate(items):
            if problem := self._check(item):
                field, message = problem
                key = item["properties"].get("$insert_id")
                failed.append({"index": index, "insert_id": key, "field": field, "message": message})
                continue
            about = item["properties"]
            self.store((item["event"], about["time"], about["distinct_id"], about["$insert_id"]), item)
        count = len(items) - len(failed)
        if failed:
            error = "some data points in the request failed validation"
            return reply(
                400, code=400, error=error, num_records_imported=count, failed_records=failed, status="Bad Request"
            )
        return reply(200, code=200, num_records_imported=count, status="OK")

    def _check(self, item: dict[str, Any]) -> tuple[str, str] | None:
        about = item["properties"]
        if not isinstance(item["event"], str) or not item["event"]:
            return "event", "required"
        if not 31_536_000_000 <= about["time"] <= (time.time() + 3600) * 1000:
            return "properties.time", "must be specified as seconds since epoch"
        if about["distinct_id"].lower() in DISALLOWED:
            return "properties.distinct_id", "disallowed"
        assert len(about["distinct_id"]) <= 255, "a cut id is another person"
        if not re.fullmatch("[A-Za-z0-9-]{1,36}", about["$insert_id"]) or about["$insert_id"].lower() in DISALLOWED:
            return "properties.$insert_id", "invalid"
        if len(about) >= 255 or max((depth(value) for value in about.values()), default=0) > 3:
            return "properties", "too many or too deep"
        return None


def deliver(vendor: Vendor, *samples: dict[str, Any], secret: str = ACCOUNT) -> tuple[list[Any], list[Received]]:
    """Return the outcomes of a batch, and the requests."""
    project = {"project_id": "42"} if ":" in secret else {}
    with target(vendor) as place:
        made = integration("mixpanel", secret, url=place.url, **project)
        return list(made.deliver(batch(made, *samples))), place.requests


def test_an_event_has_its_name_ids_time_and_campaign() -> None:
    sample = event(
        messageId="m-1",
        anonymousId="anna-1",
        properties={"campaign_id": "c1", "time": "now", "$set": 1, "token": "other", "$group_id": "g"},
        context={"campaign": {"name": "May"}},
    )
    outcomes, (request,) = deliver(Mixpanel(), sample)
    assert outcomes == [DELIVERED]
    assert request.path == "/import?strict=1&project_id=42"
    assert request.headers["content-encoding"] == "gzip"
    assert json.loads(gzip.decompress(request.body)) == [
        {
            "event": "Email Opened",
            "properties": {
                "utm_campaign": "May",
                "campaign_id": "c1",
                "$set": 1,
                "time": 1735689602000,
                "distinct_id": "u1",
                "$insert_id": "m-1",
                "ip": 0,
                "$user_id": "u1",
                "$device_id": "anna-1",
            },
        }
    ]


def test_a_project_token_is_a_user_without_a_password() -> None:
    outcomes, (request,) = deliver(Mixpanel(), event(), secret=TOKEN)
    assert outcomes == [DELIVERED]
    assert request.path == "/import?strict=1"


@pytest.mark.parametrize(
    ("region", "host"),
    [("us", "api.mixpanel.com"), ("eu", "api-eu.mixpanel.com"), ("in", "api-in.mixpanel.com")],
)
def test_the_preview_names_the_address_and_hides_the_secret(region: str, host: str) -> None:
    made = integration("mixpanel", ACCOUNT, region=region, project_id="42")
    text = made.preview(batch(made, event()))
    assert text.startswith(f"POST https://{host}/import?strict=1&project_id=42\n")
    assert '"event":"Email Opened"' in text
    for part in (ACCOUNT, "s3cr3tPassw0rd", base64.b64encode(ACCOUNT.encode()).decode()):
        assert part not in text


@pytest.mark.parametrize(
    ("message_id", "kept"),
    [("m-1", True), ("29fc2962-6d9c-455d-95ad-95b84f09b9e4", True), ("a.b", False), ("i" * 37, False), ("none", False)],
)
def test_an_insert_id_is_the_message_id_if_it_can_be_one(message_id: str, kept: bool) -> None:
    _, (request,) = deliver(Mixpanel(), event(messageId=message_id))
    _, (again,) = deliver(Mixpanel(), event(messageId=message_id))
    found = json.loads(gzip.decompress(request.body))[0]["properties"]["$insert_id"]
    assert (found == message_id) is kept
    assert request.body == again.body


def test_an_event_of_nobody_has_an_empty_id() -> None:
    outcomes, (request,) = deliver(Mixpanel(), event(userId="null"))
    assert outcomes == [DELIVERED]
    about = json.loads(gzip.decompress(request.body))[0]["properties"]
    assert about["distinct_id"] == ""
    assert "$user_id" not in about


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"userId": "x" * 256}, "id_too_long"),
        ({"event": ""}, "no_name"),
        ({"timestamp": None, "originalTimestamp": None, "sentAt": None, "receivedAt": None}, "no_time"),
    ],
)
def test_an_event_that_mixpanel_cannot_take_is_rejected(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(EventRejected) as raised:
        batch(integration("mixpanel", TOKEN), event(**fields))
    assert raised.value.reason == reason


def test_events_that_an_answer_names_are_rejected_and_the_others_delivered() -> None:
    vendor = Mixpanel()
    samples = [event(messageId=f"m{number}", properties={"a": {}}) for number in range(4)]
    samples[1]["timestamp"] = "1960-01-01T00:00:00Z"
    samples[2]["properties"] = {"a": {"b": {"c": {"d": {}}}}}
    outcomes, requests = deliver(vendor, *samples)
    assert [outcome.status for outcome in outcomes] == ["delivered", "rejected", "rejected", "delivered"]
    assert outcomes[1].answer == "properties.time: must be specified as seconds since epoch"
    assert len(requests) == 1
    assert len(vendor.stored) == 2


@pytest.mark.parametrize(
    ("answer", "error", "reason"),
    [
        (reply(400, code=400, error="Bad Request"), Refused, "refused"),
        (reply(400, code=400, failed_records=[{"index": 7}]), Refused, "refused"),
        (reply(400, code=400, failed_records="all"), Refused, "refused"),
        (Reply(400, b"<html>"), Refused, "refused"),
        (reply(401, code=401, error="Unauthorized"), TryLater, "unauthorized"),
        (reply(413, code=413), TooLarge, "too_large"),
        (Reply(429, b"", {"Retry-After": "9"}), TryLater, "throttled"),
        (Reply(200, b"1"), TryLater, "unexpected_answer"),
        (Reply(200, b"<html>"), TryLater, "unexpected_answer"),
        (Reply(503), TryLater, "server_error"),
    ],
)
def test_an_answer_that_names_no_event_is_about_the_request(
    answer: Reply, error: type[DeliveryError], reason: str
) -> None:
    with target(lambda _: answer) as place:
        made = integration("mixpanel", TOKEN, url=place.url)
        with pytest.raises(error) as raised:
            made.deliver(batch(made, event()))
    assert raised.value.reason == reason


@pytest.mark.parametrize(
    ("secret", "given", "problem"),
    [
        (ACCOUNT, {}, "project_id"),
        (ACCOUNT, {"project_id": "my project"}, "project_id"),
        (TOKEN, {"region": "us-east"}, "region"),
        (TOKEN, {"events": "2001"}, "events"),
    ],
)
def test_an_invalid_setting_is_refused(secret: str, given: dict[str, str], problem: str) -> None:
    with pytest.raises(UsageError, match=problem) as raised:
        integration("mixpanel", secret, **given)
    assert secret not in str(raised.value)


@settings(max_examples=40, deadline=None)
@given(events(), st.lists(st.sampled_from(FAULTS), max_size=6))
def test_each_event_is_stored_once_or_rejected_whatever_happens(sent: list[dict[str, Any]], faults: list[str]) -> None:
    vendor = Mixpanel(faults)
    with target(vendor) as place:
        delivered, rejected = forward(integration("mixpanel", TOKEN, url=place.url, events="3"), sent)
    check_each_once(vendor, sent, delivered, rejected)


def test_requests_stay_within_the_limits() -> None:
    vendor = Mixpanel()
    sent = [event(messageId=f"m{number}", properties={"text": "x" * 3000}) for number in range(1000)]
    with target(vendor) as place:
        delivered, rejected = forward(integration("mixpanel", TOKEN, url=place.url), sent)
    assert (len(delivered), rejected, len(place.requests)) == (1000, {}, 2)
