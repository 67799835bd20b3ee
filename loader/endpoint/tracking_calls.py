"""Convert bodies of the tracking API (Segment's HTTP API) to the JSON lines that a file of these events would have."""

import re
import uuid
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import msgspec
from msgspec import Raw

from loader.endpoint.limits import MAX_BATCH_BYTES, MAX_EVENT_BYTES, MAX_EVENTS, MAX_EXPANDED_BYTES
from loader.events.outcomes import wrap_reject
from loader.events.values import repair, split_object

#: Calls with one event, named by their type, and calls with several events.
SINGLE = ("track", "identify", "page", "screen", "group", "alias")
BATCH = ("batch", "import")
#: The call at each path: those of Segment's HTTP API, the short ones of its clients for browsers, apps and .NET, which
#: have the first letter of the call, and the one to which RudderStack's client for browsers sends beacons.
PATHS = {f"/v1/{kind}": kind for kind in (*SINGLE, *BATCH)}
PATHS |= {f"/v1/{kind[0]}": kind for kind in (*SINGLE, "batch")}
PATHS |= {"/beacon/v1/batch": "batch"}
#: Where Segment's clients send figures about themselves, without a key.
CLIENT_METRICS = "/v1/m"

#: Values of `messageId` that are treated as missing.
_NO_ID = {b"null", b'""'}
#: Fields whose values are merged if both the batch and an event have them. For other fields, the event's value counts.
_MERGED = {"context", "integrations"}

#: The fields of an event. The values stay raw bytes, so that numbers keep their spelling.
Fields = dict[str, Raw]
#: Fields whose name came before in the same object, in the order in which they came.
Repeated = Sequence[tuple[str, Raw]]


class CallError(Exception):
    """A body that is not a valid call; the message is sent to the client."""


class _Body(msgspec.Struct):
    """The body of a batch: its events, and the fields that apply to all of them."""

    batch: list[Raw]
    write_key: Raw | msgspec.UnsetType = msgspec.field(default=msgspec.UNSET, name="writeKey")
    sent_at: Raw | msgspec.UnsetType = msgspec.field(default=msgspec.UNSET, name="sentAt")
    context: Raw | msgspec.UnsetType = msgspec.UNSET
    integrations: Raw | msgspec.UnsetType = msgspec.UNSET


class _KeyOnly(msgspec.Struct):
    write_key: str | None = msgspec.field(default=None, name="writeKey")


@dataclass(frozen=True, slots=True)
class Call:
    """A call: JSON lines for the loader, the number of their events, and how many of these are rejects already."""

    lines: bytes
    events: int
    rejected: int = 0


_fields = msgspec.json.Decoder(Fields)
_body = msgspec.json.Decoder(_Body)
_key_only = msgspec.json.Decoder(_KeyOnly)
_encoder = msgspec.json.Encoder()
_SOME_KEY = re.compile(rb'"writeKey"\s*:\s*"([!-~]+?)"')


def max_body_bytes(kind: str) -> int:
    """Return the maximum size of a call's body, in bytes after decompression."""
    return MAX_BATCH_BYTES if kind in BATCH else MAX_EVENT_BYTES


def find_write_key(content: bytes) -> str | None:
    """Return the `writeKey` of a body, without building anything else; None if it has none.

    >>> find_write_key(b'{"batch":[{"event":"a"}],"writeKey":"secret"}')
    'secret'
    """
    if b'"writeKey"' not in content:
        return None
    try:
        return _key_only.decode(content.removeprefix(BOM_UTF8)).write_key
    except (msgspec.ValidationError, RecursionError):
        return None
    except (msgspec.DecodeError, UnicodeDecodeError):
        # `read_call` repairs some of these bodies, or says what is wrong with them to who has a key.
        found = _SOME_KEY.search(content)
        return found[1].decode() if found else None


def read_call(kind: str, content: bytes, received_at: str) -> Call:
    """Parse the body of a call; `kind` is its name in PATHS, `received_at` is written into each event.

    Events are not validated here: the loader stores invalid ones as rejects. An event of a batch that is too large or
    is not an event becomes a line that the loader rejects with the event's bytes.

    Raises CallError for a body that is too large, not JSON, or not a call.
    """
    content = content.removeprefix(BOM_UTF8)
    if len(content) > max_body_bytes(kind):
        raise CallError(f"the body is larger than {max_body_bytes(kind) >> 10} KB")
    try:
        if kind in BATCH:
            return _read_batch(_decode(_read_body, content), received_at)
        fields, repeated = _decode(_read_object, content)
        return _read_single(kind, fields, repeated, received_at)
    except RecursionError:
        raise CallError("the JSON is nested too deeply") from None
    except msgspec.ValidationError as exc:
        raise CallError(f"the body is not a {kind} call: {exc}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise CallError(f"the body is not JSON in UTF-8: {exc}") from None


def _decode(decode: Callable[[bytes], Any], content: bytes) -> Any:
    """Decode a body with line breaks replaced by blanks; unpaired surrogates are replaced if it cannot be decoded."""
    text = content.decode()
    try:
        found = decode(content)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        text, count = repair(text)
        if not count:
            raise
        found = decode(content := text.encode())
    # Valid JSON has raw line breaks only between tokens.
    return decode(content.replace(b"\n", b" ")) if b"\n" in content else found


def _read_object(raw: bytes) -> tuple[Fields, Repeated]:
    """Return the fields of an object, the first of each name, and those with a name that came before."""
    return _first_values(_fields.decode(raw), raw)


def _first_values(fields: Fields, raw: bytes) -> tuple[Fields, Repeated]:
    """Return the same for an object that is decoded; the decoder keeps the last field of each name.

    That no name is repeated is certain if the object has the size of its fields, written as compact as possible, or if
    it is what Python's `json` writes of them.
    """
    if len(_encoder.encode(fields)) == len(raw) or raw == _spaced(fields):
        return fields, ()
    try:
        pairs = [(name, Raw(value.encode())) for name, value in split_object(raw.decode())]
    except (RecursionError, ValueError):  # nested at the limit of the decoder
        return fields, ()
    firsts: Fields = {}
    repeated = []
    for name, value in pairs:
        if name in firsts:
            repeated.append((name, value))
        firsts.setdefault(name, value)
    return firsts, repeated


def _spaced(fields: Fields) -> bytes:
    return b"{" + b", ".join([b'"%b": %b' % (name.encode(), value) for name, value in fields.items()]) + b"}"


def _read_single(kind: str, fields: Fields, repeated: Repeated, received_at: str) -> Call:
    fields["type"] = Raw(f'"{kind}"'.encode())
    event = _with_repeated(_received(fields, Raw(f'"{received_at}"'.encode())), repeated)
    return Call(_encoder.encode_lines([event]), 1)


def _read_body(content: bytes) -> _Body:
    """Return the body of a batch, with the first value of each name."""
    body = _body.decode(content)
    size = len(_encoder.encode(msgspec.structs.replace(body, batch=[])))
    if size + sum(map(_size, body.batch)) + max(len(body.batch) - 1, 0) == len(content):
        return body  # as in `_first_values`
    fields, repeated = _read_object(content)
    return _body.decode(_encoder.encode(fields)) if repeated else body


def _read_batch(body: _Body, received_at: str) -> Call:
    if len(body.batch) > MAX_EVENTS:
        raise CallError(f"the batch has more than {MAX_EVENTS:,} events")
    fields = {"sentAt": body.sent_at, "context": body.context, "integrations": body.integrations}
    shared = {name: value for name, value in fields.items() if value is not msgspec.UNSET and bytes(value) != b"null"}
    size = sum(map(_size, shared.values()))
    if size > MAX_EVENT_BYTES or size * len(body.batch) > MAX_EXPANDED_BYTES:
        raise CallError("the fields that the batch has for all its events are too large")
    return _lines(body.batch, shared, Raw(f'"{received_at}"'.encode()))


def _size(value: Raw) -> int:
    return len(memoryview(value))


def _lines(batch: Sequence[Raw], shared: Fields, moment: Raw) -> Call:
    """Return the lines of a batch's events."""
    lines: list[Any] = []
    rejected = 0
    for raw, read in zip(batch, _read_events(batch), strict=True):
        if isinstance(read, str):
            lines.append(Raw(wrap_reject(bytes(raw), read)))
            rejected += 1
        else:
            lines.append(_with_shared(_received(read[0], moment), read[1], shared))
    return Call(_encoder.encode_lines(lines), len(lines), rejected)


def _read_events(batch: Sequence[Raw]) -> Iterable[tuple[Fields, Repeated] | str]:
    """Return the fields of each event and the repeated ones, or the reason why it is rejected."""
    sizes = list(map(_size, batch))
    try:
        found = list(map(_fields.decode, batch))
    except msgspec.ValidationError:
        return map(_read_event, batch, sizes)
    is_compact = len(_encoder.encode_lines(found)) == sum(sizes) + len(sizes)  # as in `_first_values`
    if is_compact and max(sizes, default=0) <= MAX_EVENT_BYTES and all(map(_is_typed, found)):
        return zip(found, repeat(()))
    return map(_read_event, batch, sizes, found)


def _read_event(raw: Raw, size: int, fields: Fields | None = None) -> tuple[Fields, Repeated] | str:
    if size > MAX_EVENT_BYTES:
        return "too_large"
    try:
        fields, repeated = _first_values(_fields.decode(raw) if fields is None else fields, bytes(raw))
    except msgspec.ValidationError:
        return "not_object"
    return (fields, repeated) if _is_typed(fields) else "no_type"


def _is_typed(fields: Fields) -> bool:
    """Return whether an event has a `type` or, for a track call, an `event`."""
    if "type" in fields and bytes(fields["type"]) != b"null":
        return True
    return "event" in fields and bytes(fields["event"]) != b"null"


def _received(fields: Fields, received_at: Raw) -> Fields:
    """Set `receivedAt` and, if missing, `messageId`; rename `timestamp` to `originalTimestamp`; remove `writeKey`.

    The loader derives `timestamp` from `originalTimestamp` and the offset of the client's clock, as it does for files.
    """
    if (sent := fields.pop("timestamp", None)) is not None and bytes(sent) != b"null":
        fields["originalTimestamp"] = sent
    fields["receivedAt"] = received_at
    if "messageId" not in fields or bytes(fields["messageId"]) in _NO_ID:
        fields["messageId"] = Raw(f'"{uuid.uuid4()}"'.encode())
    fields.pop("writeKey", None)
    return fields


def _with_shared(fields: Fields, repeated: Repeated, shared: Fields) -> Any:
    """Add the shared fields of a batch to an event. If both have a field of `_MERGED`, the loader merges them later."""
    if not shared:
        return _with_repeated(fields, repeated)
    for name in shared.keys() & fields.keys():
        if bytes(fields[name]) == b"null":
            del fields[name]
    if _MERGED & shared.keys() & fields.keys():
        return {**shared, "batch": [_with_repeated(fields, repeated)]}
    return _with_repeated(shared | fields, repeated)


def _with_repeated(fields: Fields, repeated: Repeated) -> Fields | Raw:
    """Append the fields with repeated names, which the loader discards, except those that are not the sender's."""
    repeated = [(name, value) for name, value in repeated if name in fields and name not in ("type", "receivedAt")]
    if not repeated:
        return fields
    more = (_encoder.encode(name) + b":" + bytes(value) for name, value in repeated)
    return Raw(_encoder.encode(fields)[:-1] + b"," + b",".join(more) + b"}")
