"""Lines become items, whatever is in them."""

from datetime import UTC, datetime, timedelta

import pytest

from loader.forwarding.configuration import Configuration
from loader.forwarding.preparation import Preparation
from loader.integrations.addresses import HttpRules
from loader.integrations.registry import BUILT_IN, create
from loader.spool.reader import Position

SETTINGS = {
    "webhook": {"url": "https://example.com"},
    "ga4": {"measurement_id": "G-1"},
    "s3": {"url": "/tmp"},
    "selligent": {
        "url": "https://example.com",
        "organization": "a",
        "profile_list": "p",
        "business_key": "ID",
        "allowed_events": "*",
    },
}


@pytest.mark.parametrize("kind", BUILT_IN)
def test_values_that_are_nested_too_deeply_do_not_stop_the_forwarder(kind: str) -> None:
    configuration = Configuration(
        *("1", kind, kind, SETTINGS.get(kind, {}), None, None, False, False, False, timedelta(), 0, "enabled", None),
        datetime.now(UTC),
    )
    reasons = set()
    secret = {"s3": "", "webhook": "whsec_" + "c2VjcmV0" * 6, "selligent": "key:secret"}.get(kind, "secret-0123456789")
    integration = create(kind, SETTINGS.get(kind, {}), secret, HttpRules())
    preparation = Preparation(configuration, integration)
    for depth in range(900, 1010):
        line = b'{"event":"Email Opened","userId":"u","timestamp":"2025-01-01T00:00:00Z","properties":{"a":%b1%b}}'
        for item in preparation.prepare(line % (b"[" * depth, b"]" * depth), "o", "k", Position("s", 1)):
            reasons.add(item.failure.reason if item.failure else "sent" if item.record else "skipped")
    assert reasons <= {"sent", "skipped", "too_deep"}
    assert "sent" in reasons
