"""Calls: bodies of the tracking API (Segment's HTTP API) → the lines that a file with the same events would have."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import Raw

from loader.endpoint.limits import MAX_BATCH_BYTES, MAX_EVENT_BYTES, MAX_EVENTS, MAX_EXPANDED_BYTES
from loader.events.values import repair

#: Calls of one event, named by their type, and of many.
SINGLE = ("track", "identify", "page", "screen", "group", "alias")
BATCH = ("batch", "import")

#: What is as good as no messageId.
_NO_ID = {b"null", b'""'}

#: What is merged if a batch says it for all its events and an event for itself; of the rest the event's own counts.
_MERGED = {"context", "integrations"}

#: The fields of an event; their values stay the bytes they came as, so that no number changes its spelling.
Fields = dict[str, Raw]


class CallError(Exception):
    """A body that is no call, and the reason that the sender is told."""


class Body(msgspec.Struct):
    """A batch: what it says once for all its events, and these."""

    batch: list[Raw]
    write_key: str | None = msgspec.field(default=None, name="writeKey")
    sent_at: Raw = msgspec.field(default=Raw(b"null"), name="sentAt")
    context: Raw = Raw(b"null")
    integrations: Raw = Raw(b"null")


@dataclass(frozen=True, slots=True)
class Call:
    """What a body says: lines for the loader, how many events they hold, and the write key if it is in there."""

    lines: bytes
    events: int
    write_key: str | None


_fields = msgspec.json.Decoder(Fields)
_body = msgspec.json.Decoder(Body)
_text = msgspec.json.Decoder(str | None)
_encoder = msgspec.json.Encoder()


def max_body_bytes(kind: str) -> int:
    """Return the most bytes that a body of a call may have."""
    return MAX_BATCH_BYTES if kind in BATCH else MAX_EVENT_BYTES


def read_call(kind: str, content: bytes, received_at: str) -> Call:
    """Return what the body of a call says; `kind` is the last part of its path, `received_at` goes into each event.

    What is wrong with a single event is left to the loader, which keeps it as a reject.

    Raises CallError for a body that is too large, no JSON, or no call.
    """
    if len(content) > max_body_bytes(kind):
        raise CallError(f"the body has more than {max_body_bytes(kind) >> 10} KB")
    try:
        if kind in BATCH:
            return _read_batch(_decode(_body.decode, content), received_at)
        return _read_single(kind, _decode(_fields.decode, content), received_at)
    except RecursionError:
        raise CallError("the JSON is nested too deeply") from None
    except msgspec.ValidationError as exc:
        raise CallError(f"the body is no {kind} call: {exc}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise CallError(f"the body is not JSON in UTF-8: {exc}") from None


def _decode(decode: Callable[[bytes], Any], content: bytes) -> Any:
    """Decode a body, without its line ends, repaired where half of a surrogate pair is in the way."""
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
    # What is JSON has line ends between its parts only.
    return decode(content.replace(b"\n", b" ")) if b"\n" in content else found


def _read_single(kind: str, fields: Fields, received_at: str) -> Call:
    fields["type"] = Raw(f'"{kind}"'.encode())
    key = _text.decode(fields["writeKey"]) if "writeKey" in fields else None
    return Call(_encoder.encode_lines([_received(fields, Raw(f'"{received_at}"'.encode()))]), 1, key)


def _read_batch(body: Body, received_at: str) -> Call:
    if len(body.batch) > MAX_EVENTS:
        raise CallError(f"the batch has more than {MAX_EVENTS:,} events")
    moment = Raw(f'"{received_at}"'.encode())
    said = {"sentAt": body.sent_at, "context": body.context, "integrations": body.integrations}
    shared = {name: value for name, value in said.items() if bytes(value) != b"null"}
    size = sum(len(memoryview(value)) for value in shared.values())
    if size > MAX_EVENT_BYTES or size * len(body.batch) > MAX_EXPANDED_BYTES:
        raise CallError("what the batch says for all its events is too large")
    events = []
    for number, raw in enumerate(body.batch):
        if len(memoryview(raw)) > MAX_EVENT_BYTES:
            raise CallError(f"event {number} of the batch has more than {MAX_EVENT_BYTES >> 10} KB")
        events.append(_with_shared(_received(_fields.decode(raw), moment), shared))
    return Call(_encoder.encode_lines(events), len(events), body.write_key)


def _received(fields: Fields, received_at: Raw) -> Fields:
    """Say of an event when it was received, and who it is; the sender's time goes where it is the original one.

    The loader corrects it by the sender's clock, as it does for files.
    """
    if (sent := fields.pop("timestamp", None)) is not None and bytes(sent) != b"null":
        fields["originalTimestamp"] = sent
    fields["receivedAt"] = received_at
    if "messageId" not in fields or bytes(fields["messageId"]) in _NO_ID:
        fields["messageId"] = Raw(f'"{uuid.uuid4()}"'.encode())
    fields.pop("writeKey", None)
    return fields


def _with_shared(fields: Fields, shared: Fields) -> Fields | dict[str, Any]:
    """Give an event what its batch says for all; where both say it, the loader merges it as it does for files."""
    if _MERGED & shared.keys() & fields.keys():
        return {**shared, "batch": [fields]}
    return shared | fields
