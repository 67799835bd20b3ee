"""Show the request for one event, and send it, for `integrations test`."""

import json
import uuid
from datetime import UTC, datetime
from typing import Any

from loader.errors import UsageError
from loader.forwarding.configuration import Configuration
from loader.forwarding.delivery import Item
from loader.forwarding.preparation import Preparation
from loader.integrations.outcomes import DeliveryError
from loader.integrations.protocol import Batch, Integration, Record
from loader.spool.reader import Position


def sample_event(*, reads_site: bool = False) -> bytes:
    """Return an event as it is stored, with an id of its own, and with personal data to show whether it is left out.

    For an integration that reads the calls of the company's site it is an identify call.
    """
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    event: dict[str, Any] = {
        "type": "track",
        "event": "Email Link Clicked",
        "messageId": f"test-{uuid.uuid4()}",
        "userId": "test-user",
        "originalTimestamp": now,
        "sentAt": now,
        "receivedAt": now,
        "context": {"ip": "198.51.100.7", "userAgent": "Mozilla/5.0", "traits": {"email": "anna@example.com"}},
        "properties": {
            "campaign_id": "10430",
            "campaign_name": "Abandoned cart",
            "email_id": "1043002",
            "email_subject": "Your cart expires tonight",
            "link_id": "7",
            "link_url": "https://www.example.com/cart",
        },
    }
    if reads_site:
        kept = {name: event[name] for name in ("messageId", "userId", "originalTimestamp", "receivedAt")}
        event = {"type": "identify", **kept, "traits": {"email": "anna@example.com", "first_name": "Anna"}}
    return json.dumps(event, separators=(",", ":")).encode()


def preview_event(configuration: Configuration, line: bytes) -> str:
    """Return the request for an event as text, without secrets.

    Raises UsageError if the event is not one, or is not sent to this integration.
    """
    integration, batch = _prepare(configuration, line)
    return integration.preview(batch)


def send_event(configuration: Configuration, line: bytes) -> tuple[bool, str]:
    """Send an event; return whether the target has accepted it, and what it answered."""
    integration, batch = _prepare(configuration, line)
    try:
        (outcome,) = integration.test(batch)
    except DeliveryError as exc:
        return False, f"failed ({exc.code or 'no answer'}): {exc}"
    text = f"{outcome.status} {outcome.reason} {outcome.answer}".strip()
    return outcome.status == "delivered", text


def _prepare(configuration: Configuration, line: bytes) -> tuple[Integration, Batch]:
    integration = configuration.open()
    items = list(Preparation(configuration, integration).prepare(line.strip(), "test", "test", Position()))
    if not items or not items[0].raw:
        raise UsageError("this is not an event; write one JSON object as the endpoint receives it")
    return integration, Batch("test", [_record(item) for item in items[:1]])


def _record(item: Item) -> Record:
    if item.failure:
        raise UsageError(f"the event is rejected before it is sent: {item.failure.reason} {item.failure.answer}")
    if item.record is None:
        raise UsageError("the event is not sent: its call, its field `integrations` or the mapping leave it out")
    return item.record
