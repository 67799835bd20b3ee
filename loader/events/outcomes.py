"""Outcomes of events and values: reject reasons, remedies for discarded values, counts."""

from dataclasses import dataclass

#: Reject reasons: code and meaning. The rules are those of Segment's tracking API.
REJECT_REASONS = {
    "not_utf8": "the line is not valid UTF-8",
    "not_json": "the line is not valid JSON",
    "not_object": "the line is not a JSON object",
    "too_long": "the line exceeds the maximum length of an event; this is a piece of it",
    "malformed_row": "the row has more or fewer cells than the header, or an unclosed quote",
    "unknown_type": "`type` is not a call of the tracking API",
    "no_type": "the event has neither `type` nor `event`",
    "no_event": "the track call has no `event` name",
    "nameless_event": "the `event` name has no ASCII letter or digit, so no table name can be derived from it",
    "wrong_kind": "a field of the envelope has a value of the wrong type",
    "no_identity": "the event has neither `userId` nor `anonymousId`",
    "no_time": "none of `receivedAt`, `sentAt`, `originalTimestamp` and `timestamp` is a valid time",
    "id_too_long": "`messageId` has more than 100 characters",
    "key_conflict": "an event with another name has the same `messageId` and time",
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
    "unread_time": "ask the sender to write times in ISO 8601",
    "unknown_field": "ask the sender to send it as a property",
}

#: Columns of the ledger that count events, values and characters.
COUNTS = (
    "events_read",
    "events_loaded",
    "events_duplicate",
    "events_rejected",
    "events_ignored",
    "events_suppressed",
    "values_discarded",
    "values_repaired",
)
