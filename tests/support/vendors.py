"""Servers that behave as vendors document it, with faults; events of all kinds to send them; a loop that sends them."""

import gzip
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

from loader.integrations.event import read_events
from loader.integrations.outcomes import EventRejected, Outcome, Refused, TooLarge, TryLater
from loader.integrations.protocol import Batch, Integration, Record
from tests.support.targets import Received, Reply

#: What can happen to a request, besides `hang`. `lost`: the target takes it, but its answer does not arrive.
FAULTS = ("busy", "wait", "error", "dropped", "lost", "garbage", "large", "none")
#: Requests after which `forward` gives up.
MAX_REQUESTS = 500


class Vendor(ABC):
    """A target that stores events by the key with which its vendor finds repeats, and answers as the vendor does."""

    #: What each event of a request has once.
    marker: bytes

    def __init__(self, faults: Iterable[str] = ()) -> None:
        self.faults = iter(faults)
        self.stored: dict[Any, Any] = {}
        self.times_stored: dict[Any, int] = {}

    def __call__(self, request: Received) -> Reply:
        fault = next(self.faults, "none")
        body = gzip.decompress(request.body) if request.headers.get("content-encoding") == "gzip" else request.body
        if fault == "large" and body.count(self.marker) == 1:  # no target has such a limit
            fault = "none"
        simple = {
            "busy": Reply(429, b"{}"),
            "wait": Reply(429, b"slow down", {"Retry-After": "1"}),
            "error": Reply(503, b"<html>"),
            "dropped": Reply(None),
            "hang": Reply(200, delay=60),
            "garbage": Reply(200, b"<html>login</html>"),
            "large": Reply(413, b"too large"),
        }
        if fault in simple:
            return simple[fault]
        reply = self.take(request, body)
        return Reply(None) if fault == "lost" else reply

    @abstractmethod
    def take(self, request: Received, body: bytes) -> Reply:
        """Check a request by the vendor's rules, store its events and answer."""

    def store(self, key: Any, event: Any) -> None:
        self.times_stored[key] = self.times_stored.get(key, 0) + 1
        self.stored.setdefault(key, event)


def reply(code: int, /, **body: Any) -> Reply:
    return Reply(code, json.dumps(body).encode())


def depth(value: Any) -> int:
    """Return how many objects and arrays lie around the deepest value.

    >>> depth(1), depth({"a": [1]})
    (0, 2)
    """
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(depth, inside), default=0) if isinstance(value, dict | list) else 0


def forward(made: Integration, events: Iterable[Mapping[str, Any]]) -> tuple[list[str], dict[str, str]]:
    """Send events until each is delivered or rejected; return the ids of the delivered ones, and reasons of the others.

    As the forwarder, but without pauses: a failed request is repeated, one that is too large or refused is halved, an
    event that waits holds the later ones of its person.
    """
    rejected: dict[str, str] = {}
    delivered: list[str] = []
    waiting: list[Record] = []
    for fields in events:
        (event,) = read_events(json.dumps(fields).encode())
        try:
            body = made.encode(event)
        except EventRejected as exc:
            assert exc.reason.replace("_", "").isalnum()
            rejected[event.message_id] = exc.reason
            continue
        if len(body) > made.limits.event_size:
            rejected[event.message_id] = "too_large"
        else:
            waiting.append(Record(event, body))
    maximum = made.limits.events
    for number in range(MAX_REQUESTS):
        records = list(_next(waiting, maximum, made.limits.size))
        if not records:
            break
        try:
            outcomes = made.deliver(Batch(f"0-{number}", records))
        except TryLater:
            continue
        except (Refused, TooLarge) as exc:
            maximum = max(len(records) // 2, 1)
            if len(records) > 1:
                continue
            outcomes = [Outcome("rejected", exc.reason)]
        assert len(outcomes) == len(records)
        maximum = min(2 * maximum, made.limits.events)
        for record, outcome in zip(records, outcomes, strict=True):
            if outcome.status == "delivered":
                delivered.append(record.event.message_id)
            elif outcome.status == "rejected":
                assert outcome.reason
                rejected[record.event.message_id] = outcome.reason
        done = {*delivered, *rejected}
        waiting = [record for record in waiting if record.event.message_id not in done]
    assert not waiting, "events are left"
    return delivered, rejected


def _next(waiting: Sequence[Record], maximum: int, size: int) -> Iterator[Record]:
    for number, record in enumerate(waiting):
        size -= len(record.body) + 1
        if number == maximum or (size < 0 and number):
            break
        yield record


IDS = (
    st.sampled_from(["u1", "user-2", "null", "0", "", " ", "Anonymous", "sha256-" + "a" * 64, "x" * 300, "y" * 2000])
    | st.text(max_size=8)
    | st.none()
)
TIMES = st.sampled_from(
    ["2025-01-01T00:00:00.000Z", "2025-01-01", "1735689600", "1950-01-01T00:00:00Z", "", "soon", None]
)
NAMES = st.sampled_from(
    ["Email Opened", "Email Link Clicked", "$identify", "click", "ga_x", "", " ", "x" * 300]
) | st.text(max_size=12)
TEXTS = st.text(max_size=20) | st.sampled_from(["x" * 300, "ü" * 5000, "\x00", "\u2028", "\ud83d"])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=8
)
KEYS = TEXTS | st.sampled_from(
    ["campaign_id", "time", "distinct_id", "$insert_id", "$set", "session_id", "token", "utm_x"]
)
CONTEXTS = st.fixed_dictionaries(
    {},
    optional={
        "ip": st.just("198.51.100.7") | SCALARS,
        "userAgent": st.just("Mozilla") | SCALARS,
        "campaign": st.dictionaries(st.sampled_from(["name", "source", "id"]), VALUES, max_size=2) | SCALARS,
    },
)


@st.composite
def events(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Up to 12 events with different ids."""
    made = []
    for number in range(draw(st.integers(0, 12))):
        fields = {
            "type": "track",
            "event": draw(NAMES),
            "messageId": draw(st.sampled_from([f"m-{number}", f"m {number}/ü\n", f"{number}" + "i" * 90, None])),
            "userId": draw(IDS),
            "anonymousId": draw(IDS),
            "timestamp": draw(TIMES),
            "receivedAt": draw(st.sampled_from(["2025-01-01T00:00:02Z", None])),
            "properties": draw(st.dictionaries(KEYS, VALUES, max_size=4) | VALUES),
            "context": draw(CONTEXTS | VALUES),
            "number": number,
        }
        made.append({name: value for name, value in fields.items() if value is not None})
    return made


def check_each_once(
    vendor: Vendor, sent: Sequence[Mapping[str, Any]], delivered: list[str], rejected: Mapping[str, str]
) -> None:
    """Check that each event was delivered or rejected, and that the target has the delivered ones once."""
    assert len(delivered) == len(set(delivered))
    assert not set(delivered) & rejected.keys()
    assert len(delivered) + len(rejected) == len(sent)
    assert len(vendor.stored) == len(delivered)
