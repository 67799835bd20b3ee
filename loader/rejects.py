"""Rejects: events that cannot be loaded, each with its bytes and a reason."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa

from loader.errors import UsageError
from loader.warehouse import Warehouse

#: Codes of the reasons, and what they mean; the rules are those of Segment's tracking API.
REASONS = {
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


def stored_as(event: str) -> str:
    """Return what a conflict of keys is about."""
    return f"the same `messageId` and time came first in {event!r}"


def reject_rows(rejects: Sequence[Reject], uri: str) -> pa.Table:
    """Return rows of `rejected_events` without the load."""
    return pa.table(
        {
            "uri": pa.array([uri] * len(rejects), pa.string()),
            "line": pa.array([reject.line for reject in rejects], pa.int64()),
            "raw": pa.array([reject.raw for reject in rejects], pa.binary()),
            "reason": pa.array([reject.reason for reject in rejects], pa.string()),
            "detail": pa.array([reject.detail or REASONS[reject.reason] for reject in rejects], pa.string()),
        }
    )


@dataclass(frozen=True, slots=True)
class Choice:
    """Which rejects are meant: those of a reason, since a time; all if nothing is said."""

    reason: str | None = None
    since: datetime | None = None

    @property
    def condition(self) -> tuple[str, list[Any]]:
        """SQL, and the parameters in it."""
        terms = {"reason = %s": self.reason, "rejected_at >= %s": self.since}
        given = {term: value for term, value in terms.items() if value is not None}
        return " and ".join(["true", *given]), list(given.values())


_FIELDS = ("rejected_id", "load_id", "uri", "line", "reason", "detail", "rejected_at", "replayed_at")
_SELECT = f"select {', '.join(_FIELDS)}"


def list_rejects(warehouse: Warehouse, limit: int) -> list[dict[str, Any]]:
    """Return the newest rejects without their bytes."""
    with warehouse.transaction():
        rows = warehouse.fetch(f"{_SELECT} from rejected_events order by rejected_id desc limit %s", limit)
    return [dict(zip(_FIELDS, row, strict=True)) for row in rows]


def read_reject(warehouse: Warehouse, rejected_id: int) -> tuple[dict[str, Any], bytes]:
    """Return a reject and its bytes.

    Raises UsageError if there is none of this number.
    """
    with warehouse.transaction():
        rows = warehouse.fetch(f"{_SELECT}, raw from rejected_events where rejected_id = %s", rejected_id)
    if not rows:
        raise UsageError(f"there is no reject {rejected_id}; `selligent-loader rejects list` shows their numbers")
    return dict(zip(_FIELDS, rows[0], strict=False)), rows[0][-1]


#: Rejects above which the next ones are asked for.
_PAGE = 1000
_EXPORT = f"""
    select rejected_id, load_id, uri, line, reason, raw from rejected_events
    where rejected_id > %s and replayed_at is null and {{chosen}}
    order by rejected_id limit {_PAGE}
"""


def export_rejects(warehouse: Warehouse, choice: Choice) -> Iterator[bytes]:
    """Yield the bytes of rejects that are not replayed yet, one a line, as pieces that follow each other.

    Line breaks inside one, which only elements of an array can have, become blanks; the pieces of a line that was too
    long become one line again.
    """
    chosen, values = choice.condition
    after, open_line = 0, None
    with warehouse.transaction():
        while rows := warehouse.fetch(_EXPORT.format(chosen=chosen), after, *values):
            for number, *place, reason, raw in rows:
                line = place if reason == "too_long" else [number]
                if open_line not in (None, line):
                    yield b"\n"
                yield raw.replace(b"\r\n", b" ").replace(b"\n", b" ")
                open_line = line
            after = rows[-1][0]
    if open_line:
        yield b"\n"


def purge_rejects(warehouse: Warehouse, choice: Choice, until: datetime, *, discards: bool) -> dict[str, int]:
    """Delete rejects before a time, if asked for discarded values too, but for those that wait for a column.

    Returns the numbers of what was deleted.
    """
    chosen, values = choice.condition
    with warehouse.transaction():
        gone = {"rejects": _deleted(warehouse, f"rejected_events where rejected_at < %s and {chosen}", until, *values)}
        if discards:
            condition = "discarded_values where discarded_at < %s and reason <> 'no_column'"
            gone["discarded_values"] = _deleted(warehouse, condition, until)
    return gone


def _deleted(warehouse: Warehouse, what: str, *values: Any) -> int:
    deleting = f"with gone as (delete from {what} returning 1) select count(*) from gone"
    ((count,),) = warehouse.fetch(deleting, *values)
    return int(count)
