"""What a Segment-compatible target receives, and how its answers are read."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from loader.errors import UsageError
from loader.integrations.outcomes import DELIVERED, DeliveryError, Disabled, Refused, TooLarge, TryLater
from tests.support.loading import event
from tests.support.targets import Received, Reply, batch, integration, target

KEY = "wk-0123456789abcdef"


def test_a_batch_is_one_call_with_the_write_key_and_the_original_time() -> None:
    first = event(properties={"price": 1.5}, integrations={"Amplitude": False}, receivedAt="2025-01-01T00:00:01.2Z")
    with target() as place:
        made = integration("segment", KEY, url=place.url)
        assert made.deliver(batch(made, first, event(messageId="m2"))) == [DELIVERED] * 2
    (request,) = place.requests
    assert request.path == "/v1/batch"
    assert request.headers["authorization"] == "Basic d2stMDEyMzQ1Njc4OWFiY2RlZjo="
    body = request.json
    assert body["batch"][0] == {
        "type": "track",
        "event": "Email Opened",
        "messageId": "m1",
        "userId": "u1",
        "timestamp": "2025-01-01T00:00:00.000Z",
        "properties": {"price": 1.5},
        "integrations": {"Amplitude": False},
    }
    assert abs(datetime.fromisoformat(body["sentAt"]) - datetime.now(UTC)) < timedelta(minutes=1)


def test_the_error_of_the_senders_clock_is_the_same_at_the_target() -> None:
    with target() as place:
        made = integration("segment", KEY, url=place.url)
        made.deliver(batch(made, event(sentAt="2025-01-01T01:00:00Z", receivedAt="2025-01-01T00:00:00Z")))
    body = place.requests[0].json
    (sent,) = body["batch"]
    assert datetime.fromisoformat(sent["sentAt"]) - datetime.fromisoformat(body["sentAt"]) == timedelta(hours=1)


@pytest.mark.parametrize(
    ("status", "error", "reason"),
    [
        (400, Refused, "refused"),
        (401, TryLater, "unauthorized"),
        (410, Disabled, "gone"),
        (413, TooLarge, "too_large"),
        (429, TryLater, "throttled"),
        (503, TryLater, "server_error"),
        (None, TryLater, "network"),
    ],
)
def test_an_answer_tells_what_to_do_with_the_batch(status: int | None, error: type[DeliveryError], reason: str) -> None:
    def answer(_: Received) -> Reply:
        return Reply(status, f"no {KEY}".encode(), {"Retry-After": "7"})

    with target(answer) as place:
        made = integration("segment", KEY, url=place.url)
        with pytest.raises(error) as raised:
            made.deliver(batch(made, event()))
    assert (raised.value.reason, raised.value.code) == (reason, status)
    assert KEY not in str(raised.value)
    assert raised.value.retry_after == (7 if status else None)


def test_the_preview_shows_the_request_without_the_key() -> None:
    made = integration("segment", KEY, url="https://example.com")
    text = made.preview(batch(made, event()))
    assert text.startswith("POST https://example.com/v1/batch\n")
    assert '"messageId":"m1"' in text
    assert KEY not in text
    assert "d2stMDEyMzQ1Njc4OWFiY2RlZjo" not in text


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"url": "https://"}, "url"),
        ({"events": "0"}, "events"),
        ({"events": "2501"}, "events"),
        ({"region": "eu"}, "no setting 'region'"),
    ],
)
def test_an_invalid_setting_is_refused(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        integration("segment", KEY, **settings)


def test_a_missing_key_is_refused() -> None:
    with pytest.raises(UsageError, match="needs a secret"):
        integration("segment")
