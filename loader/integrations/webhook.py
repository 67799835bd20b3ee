"""Send events to any URL, signed as the Standard Webhooks specification 1.0.0 says.

The signature is one HMAC, so the library `standardwebhooks` is used only by the tests, which verify with it.
"""

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Sequence

from loader.errors import UsageError
from loader.integrations.event import Event, encode
from loader.integrations.http import Request
from loader.integrations.over_http import HttpIntegration
from loader.integrations.protocol import ALL_CALLS, Batch, BatchLimits, Options, Secret, Setting

PREFIX = "whsec_"
#: Bytes of a secret (Standard Webhooks, "Signature scheme").
MIN_SECRET, MAX_SECRET = 24, 64


class Webhook(HttpIntegration):
    """Arrays of events, or with `events=1` one event a request, as they were received.

    `webhook-id` is `messageId` for one event and a hash of the ids for an array, so a repeated request has the same id.
    A status of 410 pauses the integration.
    """

    name, label = "webhook", "Webhooks"
    settings = (
        Setting("url", "Where to post."),
        Setting("events", "Maximum number of events in a request; 1 posts single events instead of arrays.", "100"),
    )
    secret = Secret("The signing secret, whsec_… with base64; several, separated by blanks, sign with each.")
    calls = ALL_CALLS

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._url = options.settings["url"]
        self._keys = read_secrets(options.secret)
        events = options.number("events", 10000)
        self.limits = BatchLimits(events, 1 << 20, 256 << 10)

    def encode(self, event: Event) -> bytes:
        """Return the event as it was received."""
        if "messageId" in event.fields:
            return event.line
        return encode({**event.fields, "messageId": event.message_id})

    def request(self, batch: Batch) -> Request:
        """Return the signed request."""
        ids = [record.event.message_id for record in batch.records]
        if self.limits.events == 1:
            (body,) = batch.bodies
            message_id = ids[0]
        else:
            body = b"[" + b",".join(batch.bodies) + b"]"
            message_id = f"batch_{hashlib.sha256(chr(10).join(ids).encode()).hexdigest()[:32]}"
        return Request(self._url, body, sign(self._keys, message_id, int(time.time()), body))


def read_secrets(text: str) -> list[bytes]:
    """Return the keys of one or more secrets.

    Raises UsageError, without the secret, for one that is not valid.
    """
    try:
        keys = [base64.b64decode(part.removeprefix(PREFIX), validate=True) for part in text.split()]
    except binascii.Error:
        keys = []
    if not keys or not all(MIN_SECRET <= len(key) <= MAX_SECRET for key in keys):
        raise UsageError(
            f"the secret is not one of a webhook; it is {PREFIX} and {MIN_SECRET} to {MAX_SECRET} bytes in base64, as "
            "`echo whsec_$(openssl rand -base64 32)` prints it"
        )
    return keys


def sign(keys: Sequence[bytes], message_id: str, seconds: int, body: bytes) -> dict[str, str]:
    """Return the headers that identify and sign a message (Standard Webhooks, "Webhook Headers").

    A newline or a character outside ASCII cannot be in a header, so such an id is replaced by its hash.
    """
    if not message_id.isascii() or not message_id.isprintable() or " " in message_id or "." in message_id:
        message_id = f"id_{hashlib.sha256(message_id.encode()).hexdigest()[:32]}"
    signed = f"{message_id}.{seconds}.".encode() + body
    signatures = (base64.b64encode(hmac.digest(key, signed, "sha256")).decode() for key in keys)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(seconds),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }
