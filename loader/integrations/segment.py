"""Send events to a Segment-compatible tracking API: Segment, RudderStack, Jitsu, or the endpoint of another loader.

Fields and limits: Segment, "HTTP Tracking API Source", `POST /v1/batch`: 500 KB a request, 32 KB an event, the write
key as the user of Basic authentication. The target finds repeats by `messageId`.
"""

import base64
from datetime import UTC, datetime
from urllib.parse import urlsplit

from loader.errors import UsageError
from loader.integrations.event import Event, encode
from loader.integrations.http import Request
from loader.integrations.over_http import HttpIntegration
from loader.integrations.protocol import ALL_CALLS, Batch, BatchLimits, Options, Secret, Setting

#: Bytes of the request around the events, and those that are added to an event whose sender's clock was wrong.
ENVELOPE_BYTES, SENT_AT_BYTES = 1024, 40
#: Fields that the target sets, or that belong to our source.
NOT_SENT = ("receivedAt", "originalTimestamp", "timestamp", "sentAt", "writeKey", "projectId", "_metadata")
#: Seconds by which a sender's clock may be wrong without being corrected.
MAX_CLOCK_ERROR = 1.0


class Segment(HttpIntegration):
    """Batches of calls as they were received.

    The target computes `timestamp` from `originalTimestamp`, its own time and `sentAt`, so `sentAt` is the time of
    forwarding by the clock of the sender: the time of the batch, or, if that clock was wrong, a time for the event.
    """

    name, label = "segment", "Segment.io"
    settings = (
        Setting("url", "Address of the tracking API, without /v1/batch.", "https://api.segment.io"),
        Setting("events", "Maximum number of events in a request.", "1000"),
    )
    secret = Secret("The write key of the source at the target.")
    calls = ALL_CALLS

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._url = options.settings["url"].rstrip("/") + "/v1/batch"
        if urlsplit(self._url).query or not urlsplit(self._url).hostname:
            raise UsageError("the setting url is invalid; write https://host, without /v1/batch")
        events = options.number("events", 2500)
        size = (500 << 10) - ENVELOPE_BYTES - SENT_AT_BYTES * events
        self.limits = BatchLimits(events, size, (32 << 10) - SENT_AT_BYTES)
        login = base64.b64encode(f"{options.secret}:".encode()).decode()
        self._headers = {"Authorization": f"Basic {login}"}

    def encode(self, event: Event) -> bytes:
        """Return the call with its original time as `timestamp`."""
        fields = {name: value for name, value in event.fields.items() if name not in NOT_SENT}
        moment = event.fields.get("originalTimestamp") or event.fields.get("timestamp")
        if moment is not None:
            fields["timestamp"] = moment
        if "messageId" not in fields:
            return encode({**fields, "messageId": event.message_id})
        return encode(fields)

    def request(self, batch: Batch) -> Request:
        """Return the batch call."""
        now = datetime.now(UTC)
        bodies = [with_sent_at(record.event, record.body, now) for record in batch.records]
        start = b'{"sentAt":"%b","batch":[' % _iso(now).encode()
        return Request(self._url, start + b",".join(bodies) + b"]}", self._headers)


def with_sent_at(event: Event, body: bytes, now: datetime) -> bytes:
    """Return an encoded event, with `sentAt` if the clock of its sender was wrong: `now` by that clock."""
    sent, received = event.text("sentAt"), event.text("receivedAt")
    if sent is None or received is None or sent[:19] == received[:19]:
        return body
    try:
        error = datetime.fromisoformat(received) - datetime.fromisoformat(sent)
        if abs(error.total_seconds()) < MAX_CLOCK_ERROR:
            return body
        return b'{"sentAt":"%b",%b' % (_iso(now - error).encode(), body[1:])
    except (
        ValueError,
        TypeError,
        OverflowError,
    ):  # no times, only one has an offset, or beyond the calendar
        return body


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
