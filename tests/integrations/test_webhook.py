"""What a webhook receives, checked with the verifier of the Standard Webhooks library."""

from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from loader.errors import UsageError
from loader.integrations.outcomes import DELIVERED
from tests.support.loading import event
from tests.support.targets import batch, integration, target

SECRET = "whsec_" + "c2VjcmV0" * 6
OLD = "whsec_" + "b2xkLWtl" * 6


@pytest.mark.parametrize("secret", [SECRET, f"{OLD} {SECRET}"])
def test_an_array_of_events_is_signed(secret: str) -> None:
    with target() as place:
        made = integration("webhook", secret, url=f"{place.url}/hook?a=1")
        assert made.deliver(batch(made, event(), event(messageId="m2"))) == [DELIVERED] * 2
        made.deliver(batch(made, event(), event(messageId="m2")))
        made.deliver(batch(made, event()))
    first, again, other = place.requests
    assert first.path == "/hook?a=1"
    verified: Any = Webhook(SECRET).verify(first.body, dict(first.headers))
    assert [item["messageId"] for item in verified] == ["m1", "m2"]
    assert verified[0] == event()
    assert first.headers["webhook-id"] == again.headers["webhook-id"] != other.headers["webhook-id"]
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(first.body + b" ", dict(first.headers))


def test_with_events_1_each_request_has_one_event_and_its_id() -> None:
    with target() as place:
        made = integration("webhook", SECRET, url=place.url, events="1")
        assert made.limits.events == 1
        made.deliver(batch(made, event()))
        made.deliver(batch(made, event(messageId="ü.2")))
    first, second = place.requests
    assert first.headers["webhook-id"] == "m1"
    for request in place.requests:
        assert Webhook(SECRET).verify(request.body, dict(request.headers)) == request.json
    assert second.headers["webhook-id"].startswith("id_")


@pytest.mark.parametrize("secret", ["whsec_short", "whsec_***", "whsec_" + "YWJj" * 30])
def test_an_invalid_secret_is_refused_without_showing_it(secret: str) -> None:
    with pytest.raises(UsageError) as raised:
        integration("webhook", secret, url="https://example.com")
    assert secret not in str(raised.value)
