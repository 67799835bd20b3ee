"""Events as integrations see them: the calls of a stored line, with their fields as the JSON text that was sent."""

import hashlib
import json
import re
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Raw

from loader.events.fields import CONTEXT, PROPERTIES
from loader.events.moments import read_moment
from loader.events.outcomes import ENDPOINT_REJECT
from loader.events.times import EPOCH_SECONDS, MAX_CLOCK_SKEW
from loader.events.values import repair, split_object

#: Fields that a batch call has for all of its events, and those whose values are merged if an event has them too.
_SHARED = (CONTEXT, "integrations", "sentAt", "receivedAt")

#: Ids that stand for nobody, in lower case: those that Amplitude ("HTTP V2 API", invalid ids) or Mixpanel ("Import
#: Events", distinct_id) refuse, and those that PostHog's libraries do not take for an id.
PLACEHOLDERS = frozenset(
    """
    00000000-0000-0000-0000-000000000000 anon anonymous nil none null n/a na nan undefined unknown <nil> lmy47d 0 -1
    true false [] {} guest distinctid distinct_id not_authenticated
    """.split()  # noqa: SIM905
) | {"", "[object object]"}
#: The earliest time of a sender's clock that differs from the receiver's by more than MAX_CLOCK_SKEW, as in a load.
EARLIEST = datetime.fromtimestamp(EPOCH_SECONDS.start, UTC)
#: Fields of `context.campaign` (Segment, "Context fields") that become the properties `utm_…`.
_CAMPAIGN = {"name": "campaign", "source": "source", "medium": "medium", "term": "term", "content": "content"}

_fields = msgspec.json.Decoder(dict[str, Raw])
_batch = msgspec.json.Decoder(list[Raw])
_encoder = msgspec.json.Encoder()
_UUID = re.compile("[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


Value = TypeVar("Value")


class _Once(Generic[Value]):
    """A property that is computed once, as `functools.cached_property`, but without its lock, which takes longer."""

    def __init__(self, compute: Callable[[Any], Value]) -> None:
        self._compute, self.__doc__ = compute, compute.__doc__

    def __set_name__(self, _: type, name: str) -> None:
        self._name = name

    def __get__(self, event: Any, _: type) -> Value:
        value = event.__dict__[self._name] = self._compute(event)
        return value


def encode(value: Any) -> bytes:
    """Return the JSON text of a value, in which Raw values keep their spelling."""
    return _encoder.encode(value)


def decode(raw: bytes | Raw) -> Any:
    """Return the value of a JSON text. Of a name that an object has twice, the last value counts.

    A number beyond the range of a double becomes infinite, which `encode` writes as null.
    """
    try:
        return msgspec.json.decode(raw)
    except msgspec.ValidationError:
        return json.loads(bytes(raw))


def decode_fields(raw: bytes | Raw) -> dict[str, Raw] | None:
    """Return the fields of a JSON object as JSON texts; None for another value.

    >>> bytes(decode_fields(b'{"a": 1.50}')["a"]), decode_fields(b"[]")
    (b'1.50', None)
    """
    try:
        return _fields.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


@dataclass(frozen=True)
class Event:
    """A call of the tracking API. `fields` are its fields by name, each as JSON text; no value is changed by reading.

    Properties that decode a field do so once. A field of another type than expected is treated as missing.
    """

    fields: Mapping[str, Raw]

    @_Once
    def call(self) -> str:
        """The type of the call; `track` if it is missing, as for the loader."""
        return self.text("type") or "track"

    @_Once
    def name(self) -> str:
        """The name of a track call's event, as it was sent; empty if it has none."""
        return self.text("event") or ""

    @_Once
    def message_id(self) -> str:
        """`messageId`, at most 100 characters; without one, an id derived from the content as in the warehouse."""
        return self.text("messageId") or derive_id(self.line)

    @_Once
    def uuid(self) -> str:
        """`messageId` if it is a UUID, else one made of it."""
        if _UUID.fullmatch(self.message_id):
            return self.message_id.lower()
        return str(uuid.uuid5(uuid.NAMESPACE_OID, self.message_id))

    @_Once
    def user_id(self) -> str | None:
        """`userId`; None if it is missing or empty."""
        return self.text("userId") or None

    @_Once
    def anonymous_id(self) -> str | None:
        """`anonymousId`; None if it is missing or empty."""
        return self.text("anonymousId") or None

    @_Once
    def person(self) -> str:
        """The identity for which order is kept: `userId`, else `anonymousId`."""
        return self.user_id or self.anonymous_id or ""

    @_Once
    def timestamp(self) -> str | None:
        """When the event happened, ISO 8601: `timestamp`, else `originalTimestamp`, `sentAt` or `receivedAt`.

        The endpoint does not correct the clock of the sender; it stores `originalTimestamp` and no `timestamp`.
        """
        names = "timestamp", "originalTimestamp", "sentAt", "receivedAt"
        return next((text for name in names if (text := self.text(name))), None)

    @_Once
    def moment(self) -> datetime | None:
        """When the event happened, in UTC, as in the column `timestamp` of the warehouse; None without a readable time.

        The clock of the sender is corrected by its error at the time of sending, unless `timestamp` is corrected, which
        shows by `originalTimestamp` being there. A clock that differs too much says nothing.
        """
        names = "timestamp", "originalTimestamp", "sentAt", "receivedAt"
        stamp, original, sent, received = (read_moment(self.text(name) or "") for name in names)
        if self.text("originalTimestamp") is None:
            stamp, original = None, stamp
        received = received or sent or original
        if received is None:
            return stamp
        if sent and abs(sent - received) > MAX_CLOCK_SKEW:
            is_likely = original and EARLIEST <= original <= received + MAX_CLOCK_SKEW
            return original if is_likely else received
        if stamp or original is None or sent is None:
            return stamp or original or received
        try:
            return received - (sent - original)
        except OverflowError:
            return original

    @_Once
    def known_user_id(self) -> str | None:
        """`userId`, unless it stands for nobody."""
        return _known(self.user_id)

    @_Once
    def known_anonymous_id(self) -> str | None:
        """`anonymousId`, unless it stands for nobody."""
        return _known(self.anonymous_id)

    @_Once
    def properties(self) -> dict[str, Any]:
        """The decoded properties."""
        return self._object(PROPERTIES)

    @_Once
    def context(self) -> dict[str, Any]:
        """The decoded context."""
        return self._object(CONTEXT)

    @_Once
    def utm_properties(self) -> dict[str, Any]:
        """The decoded properties, with `utm_campaign`, `utm_source` and so on from `context.campaign`."""
        campaign = self.context.get("campaign")
        found = campaign if isinstance(campaign, dict) else {}
        utm = {f"utm_{name}": found[field] for field, name in _CAMPAIGN.items() if found.get(field) is not None}
        return {**utm, **self.properties}

    @_Once
    def traits(self) -> dict[str, Any]:
        """The decoded traits of an identify or group call."""
        return self._object("traits")

    @_Once
    def options(self) -> dict[str, Any]:
        """The decoded field `integrations`."""
        return self._object("integrations")

    @property
    def line(self) -> bytes:
        """The event as one line of JSON, without a line end."""
        return _encoder.encode(self.fields)

    def text(self, name: str) -> str | None:
        """Return a field that is a string, or a number as it was spelled; None for a missing one or another type."""
        raw = self.fields.get(name)
        if raw is None:
            return None
        content = bytes(raw)
        if content[:1] == b'"':
            return str(decode(content)) if b"\\" in content else content[1:-1].decode()
        return content.decode() if content[:1] in b"-0123456789" else None

    def replace(self, **fields: Any) -> "Event":
        """Return the event with changed fields; None removes a field."""
        changed = {name: value for name, value in fields.items() if value is not None}
        kept = {name: value for name, value in self.fields.items() if name not in fields or name in changed}
        encoded = {name: value if isinstance(value, Raw) else Raw(encode(value)) for name, value in changed.items()}
        return Event({**kept, **encoded})

    def _object(self, name: str) -> dict[str, Any]:
        value = decode(self.fields[name]) if name in self.fields else None
        return value if isinstance(value, dict) else {}


def _known(text: str | None) -> str | None:
    return None if text is None or text.strip().lower() in PLACEHOLDERS else text


def read_events(line: bytes) -> Sequence[Event]:
    """Return the events of a stored line: one, those of a batch call, or none if it is not an event.

    A batch call gets its shared fields merged into its events, as the loader does it. Of a name that an object has
    twice at its top, the first value counts, and halves of surrogate pairs become U+FFFD, as in the warehouse.
    """
    fields = _read_fields(line)
    if fields is None and b"\\u" in line:
        fields = _read_fields(repair(line.decode("utf-8", "replace"))[0].encode())
    if fields is None or ENDPOINT_REJECT in fields:
        return ()
    if "batch" in fields and "type" not in fields and "event" not in fields:
        return tuple(_expand(fields))
    return (Event(fields),)


def _read_fields(line: bytes) -> dict[str, Raw] | None:
    fields = decode_fields(line)
    if fields is None or len(_encoder.encode(fields)) == len(line):  # no name was repeated
        return fields
    firsts: dict[str, Raw] = {}
    for name, value in split_object(line.decode()):
        firsts.setdefault(name, Raw(value.encode()))
    return firsts


def _expand(body: dict[str, Raw]) -> Iterator[Event]:
    """Yield the events of a batch call."""
    shared = {name: body[name] for name in _SHARED if name in body and bytes(body[name]) != b"null"}
    try:
        batch = _batch.decode(body["batch"])
    except msgspec.DecodeError:
        return
    for raw in batch:
        if (own := _read_fields(bytes(raw))) is not None:
            own = {name: value for name, value in own.items() if bytes(value) != b"null"}
            yield Event({name: _merge(shared.get(name), value) for name, value in {**shared, **own}.items()})


def _merge(below: Raw | None, above: Raw) -> Raw:
    """Return an object with the fields of another one that it lacks; null removes a field (RFC 7396)."""
    fields = decode_fields(below) if below is not None else None
    own = decode_fields(above)
    if fields is None or own is None:
        return above
    for name, value in own.items():
        if bytes(value) == b"null":
            fields.pop(name, None)
        else:
            fields[name] = _merge(fields.get(name), value)
    return Raw(encode(fields))


def derive_id(line: bytes) -> str:
    """Return the id that the loader gives an event without `messageId`: a hash of its JSON in the shortest spelling.

    Numbers beyond the range of a double or of 64 bits are spelled otherwise there, and give another id.
    """
    return f"derived-{hashlib.md5(encode(decode(line)), usedforsecurity=False).hexdigest()}"
