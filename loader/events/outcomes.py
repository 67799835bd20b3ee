"""?"""

from dataclasses import dataclass

#: Codes of the reasons, and what they mean; the rules are those of Segment's tracking API.
REJECT_REASONS = {
    "not_utf8": "the line is not UTF-8",
    "not_json": "the line is not JSON",
    "not_object": "the line is not a JSON object",
    "too_long": "the line is longer than an event can be; this is a piece of it",
    "malformed_row": "the row has not as many cells as the heading, or a quote that is not closed",
    "unknown_type": "`type` is no call of the tracking API",
    "no_type": "neither `type` nor `event` says what this is",
    "no_event": "a track call without the name of its `event`",
    "nameless_event": "the name of the `event` has no ASCII letter or digit to make a table's name of",
    "wrong_kind": "a field of the envelope has a value of the wrong kind",
    "no_identity": "neither `userId` nor `anonymousId` says whose event it is",
    "no_time": "none of `receivedAt`, `sentAt`, `originalTimestamp` and `timestamp` is a time",
    "id_too_long": "`messageId` has more than 100 characters",
    "key_conflict": "an event of another name has the same `messageId` and time",
    "no_table": "the table of the event could not be made",
    "refused_by_database": "the database refused the row",
}


@dataclass(frozen=True, slots=True)
class Reject:
    """An event that cannot be loaded: its line, its bytes, the code of the reason and what the code does not say."""

    line: int
    raw: bytes
    reason: str
    detail: str | None = None


def describe_key_conflict(event: str) -> str:
    """Return what a conflict of keys is about."""
    return f"the same `messageId` and time came first in {event!r}"


#: What to do about values that were discarded, by reason.
DISCARD_REMEDIES = {
    "no_column": "nothing: each load tries to add the column; `pending` tells what is in its way",
    "misfit": "`selligent-loader widen TABLE COLUMN` makes the column text and fills them in",
    "no_room": "nothing can be done in PostgreSQL: a row has at most 8 kB beside long texts",
    "collision": "ask the sender for one spelling: another property of the event has filled the column",
    "repeated_key": "ask the sender to send the name once: the first value is in the column",
    "reserved": "ask the sender for another name: this one is a standard column's",
    "nameless": "ask the sender for a name with ASCII letters or digits",
    "unread_time": "ask the sender for ISO 8601",
    "unknown_field": "ask the sender to put it into the properties",
}

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
