"""Convert bodies of the tracking API (Segment's HTTP API) to the JSON lines that a file of these events would have."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import Raw

from loader.endpoint.limits import MAX_BATCH_BYTES, MAX_EVENT_BYTES, MAX_EVENTS, MAX_EXPANDED_BYTES
from loader.events.values import repair

#: Calls with one event, named by their type, and calls with several events.
SINGLE = ("track", "identify", "page", "screen", "group", "alias")
BATCH = ("batch", "import")

#: Values of `messageId` that are treated as missing.
_NO_ID = {b"null", b'""'}

#: Fields whose values are merged if both the batch and an event have them. For other fields, the event's value counts.
_MERGED = {"context", "integrations"}

#: The fields of an event. The values stay raw bytes, so that numbers keep their spelling.
Fields = dict[str, Raw]


class CallError(Exception):
    """A body that is not a valid call; the message is sent to the client."""


class Body(msgspec.Struct):
    """The body of a batch: its events, and the fields that apply to all of them."""

    batch: list[Raw]
    write_key: str | None = msgspec.field(default=None, name="writeKey")
    sent_at: Raw = msgspec.field(default=Raw(b"null"), name="sentAt")
    context: Raw = Raw(b"null")
    integrations: Raw = Raw(b"null")


@dataclass(frozen=True, slots=True)
class Call:
    """A call: JSON lines for the loader, the number of their events, and the write key if the body has one."""

    lines: bytes
    events: int
    write_key: str | None


_fields = msgspec.json.Decoder(Fields)
_body = msgspec.json.Decoder(Body)
_text = msgspec.json.Decoder(str | None)
_encoder = msgspec.json.Encoder()


def max_body_bytes(kind: str) -> int:
    """Return the maximum size of a call's body, in bytes after decompression."""
    return MAX_BATCH_BYTES if kind in BATCH else MAX_EVENT_BYTES


def read_call(kind: str, content: bytes, received_at: str) -> Call:
    """Parse the body of a call; `kind` is the last part of its path, `received_at` is written into each event.

    Events are not validated here: the loader stores invalid ones as rejects.

    Raises CallError for a body that is too large, not JSON, or not a call.
    """
    if len(content) > max_body_bytes(kind):
        raise CallError(f"the body is larger than {max_body_bytes(kind) >> 10} KB")
    try:
        if kind in BATCH:
            return _read_batch(_decode(_body.decode, content), received_at)
        return _read_single(kind, _decode(_fields.decode, content), received_at)
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


def _read_single(kind: str, fields: Fields, received_at: str) -> Call:
    fields["type"] = Raw(f'"{kind}"'.encode())
    key = _text.decode(fields["writeKey"]) if "writeKey" in fields else None
    return Call(_encoder.encode_lines([_received(fields, Raw(f'"{received_at}"'.encode()))]), 1, key)


def _read_batch(body: Body, received_at: str) -> Call:
    if len(body.batch) > MAX_EVENTS:
        raise CallError(f"the batch has more than {MAX_EVENTS:,} events")
    moment = Raw(f'"{received_at}"'.encode())
    fields = {"sentAt": body.sent_at, "context": body.context, "integrations": body.integrations}
    shared = {name: value for name, value in fields.items() if bytes(value) != b"null"}
    size = sum(len(memoryview(value)) for value in shared.values())
    if size > MAX_EVENT_BYTES or size * len(body.batch) > MAX_EXPANDED_BYTES:
        raise CallError("the fields that the batch has for all its events are too large")
    events = []
    for number, raw in enumerate(body.batch):
        if len(memoryview(raw)) > MAX_EVENT_BYTES:
            raise CallError(f"event {number} of the batch is larger than {MAX_EVENT_BYTES >> 10} KB")
        events.append(_with_shared(_received(_fields.decode(raw), moment), shared))
    return Call(_encoder.encode_lines(events), len(events), body.write_key)


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


def _with_shared(fields: Fields, shared: Fields) -> Fields | dict[str, Any]:
    """Add the shared fields of a batch to an event. If both have a field of `_MERGED`, the loader merges them later."""
    if _MERGED & shared.keys() & fields.keys():
        return {**shared, "batch": [fields]}
    return shared | fields
