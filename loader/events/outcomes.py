"""Outcomes of events and values: reject reasons, remedies for discarded values, counts."""

import json
from dataclasses import dataclass

from loader.events.identifiers import column_identifier

#: Reject reasons: code and meaning. The rules are those of Segment's tracking API.
REJECT_REASONS = {
    "not_utf8": "the line is not valid UTF-8",
    "not_json": "the line is not valid JSON",
    "not_object": "the line is not a JSON object",
    "too_long": "the line exceeds the maximum length of an event; this is a piece of it",
    "too_large": "the event exceeds the maximum size of an event of the tracking API",
    "malformed_row": "the row has more or fewer cells than the header, or an unclosed quote",
    "unknown_type": "`type` is not a call of the tracking API",
    "no_type": "the event has neither `type` nor `event`",
    "no_event": "the track call has no `event` name",
    "nameless_event": "the `event` name has no ASCII letter or digit, so no table name can be derived from it",
    "wrong_kind": "a field of the envelope has a value of the wrong type",
    "no_identity": "the event has neither `userId` nor `anonymousId`",
    "no_time": (
        "none of `receivedAt`, `sentAt`, `originalTimestamp` and `timestamp` is a time that can be read; "
        "give the format of the times with --time-format, also to `rejects replay`"
    ),
    "id_too_long": "`messageId` has more than 100 characters",
    "key_conflict": "an event with another name has the same `messageId` and time",
    "too_complex": "the event, or the batch that it is in, takes more time or memory than a load may use",
    "no_table": "the table of the event could not be created",
    "refused_by_database": "the database refused the row",
}


@dataclass(frozen=True, slots=True)
class Reject:
    """An event that cannot be loaded: line number, raw bytes, reason code, and details that the code does not give."""

    line: int
    raw: bytes
    reason: str
    detail: str | None = None


#: Reasons for which the endpoint rejects an event of a batch whose other events it stores.
ENDPOINT_REASONS = ("not_object", "no_type", "too_large")
#: The only field of the line that the endpoint writes to the spool for such an event. The loader recognizes it in a
#: line without `type` and `event`, which is a reject in any case, and the endpoint writes no other lines of this kind.
ENDPOINT_REJECT = "selligentLoaderReject"
#: Bytes kept of an event that the endpoint rejects.
MAX_REJECT_BYTES = 64 << 10


def wrap_reject(raw: bytes, reason: str) -> bytes:
    """Return the line for an event that the endpoint rejects: a JSON object with the reason and the event's bytes.

    >>> wrap_reject(b'[1]', "not_object")
    b'{"selligentLoaderReject":{"reason":"not_object","detail":null,"raw":"[1]"}}'
    """
    kept = raw[:MAX_REJECT_BYTES].decode("utf-8", "ignore")
    detail = f"{len(raw):,} bytes" if reason == "too_large" else None
    if detail and len(raw) > MAX_REJECT_BYTES:
        detail += f", of which the first {MAX_REJECT_BYTES >> 10} KB are kept"
    wrapped = {"reason": reason, "detail": detail, "raw": kept}
    return json.dumps({ENDPOINT_REJECT: wrapped}, ensure_ascii=False, separators=(",", ":")).encode()


def unwrap_reject(line: bytes) -> tuple[bytes, str | None] | None:
    """Return the bytes and the detail of an event that the endpoint rejected; None for any other line.

    >>> unwrap_reject(wrap_reject(b'[1]', "not_object")), unwrap_reject(b'[1]')
    ((b'[1]', None), None)
    """
    if not line.startswith(b'{"%s":{' % ENDPOINT_REJECT.encode()):
        return None
    wrapped = json.loads(line)[ENDPOINT_REJECT]
    return str(wrapped["raw"]).encode("utf-8", "replace"), wrapped["detail"]


def describe_key_conflict(event: str) -> str:
    """Return the detail of a `key_conflict` reject: the event that has the key."""
    return f"event {event!r} already has the same `messageId` and time"


#: What to do about discarded values, by reason.
DISCARD_REMEDIES = {
    "no_column": "nothing: each load tries to add the column; see `pending` for what prevents it",
    "misfit": "run `selligent-loader widen TABLE COLUMN`, which changes the column to text and fills them in",
    "no_room": "nothing: PostgreSQL limits a row to 8 kB, long texts excepted",
    "collision": "ask the sender to use one spelling: another property of the event has filled the column",
    "repeated_key": "ask the sender to send each name once: the first value is in the column",
    "reserved": "ask the sender for another name: this one belongs to a standard column",
    "nameless": "ask the sender for a name with ASCII letters or digits",
    "unread_time": "give the format of the times with `load --time-format`, or ask the sender for ISO 8601",
    "empty_list": "ask the sender to send an empty object, or nothing",
    "too_many_names": "ask the sender for fewer names: the value is an object with all such properties of the event",
    "unknown_field": "ask the sender to send it as a property",
}


def describe_remedy(reason: str, table: str, name: str) -> str:
    """Return what to do about the discarded values of a property of a table; an empty string for an unknown reason.

    >>> describe_remedy("misfit", "order_completed", "product.Price")
    'run `selligent-loader widen order_completed product_price`, which changes the column to text and fills them in'
    """
    return DISCARD_REMEDIES.get(reason, "").replace("TABLE COLUMN", f"{table} {column_identifier(name)}")


#: Columns of the ledger that count events, values and characters. Events with suspect clocks are loaded ones.
COUNTS = (
    "events_read",
    "events_loaded",
    "events_duplicate",
    "events_rejected",
    "events_ignored",
    "events_suppressed",
    "values_discarded",
    "values_repaired",
    "events_clock_suspect",
)
