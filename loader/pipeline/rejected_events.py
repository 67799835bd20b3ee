"""Rejects: events that cannot be loaded, each with its bytes and a reason."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa

from loader.errors import UsageError
from loader.events.outcomes import REJECT_REASONS, Reject
from loader.postgres.connection import Warehouse


def reject_rows(rejects: Sequence[Reject], uri: str) -> pa.Table:
    """Return rows of `rejected_events` without the load."""
    return pa.table(
        {
            "uri": pa.array([uri] * len(rejects), pa.string()),
            "line": pa.array([reject.line for reject in rejects], pa.int64()),
            "raw": pa.array([reject.raw for reject in rejects], pa.binary()),
            "reason": pa.array([reject.reason for reject in rejects], pa.string()),
            "detail": pa.array([reject.detail or REJECT_REASONS[reject.reason] for reject in rejects], pa.string()),
        }
    )


@dataclass(frozen=True, slots=True)
class RejectFilter:
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


def export_rejects(warehouse: Warehouse, choice: RejectFilter) -> Iterator[bytes]:
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


def purge_rejects(warehouse: Warehouse, choice: RejectFilter, until: datetime, *, discards: bool) -> dict[str, int]:
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
