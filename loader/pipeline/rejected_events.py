"""List, read, export and delete rejected events, which are stored with their bytes and a reason."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa

from loader.errors import UsageError
from loader.events.outcomes import REJECT_REASONS, Reject
from loader.postgres.connection import Warehouse


def reject_rows(rejects: Sequence[Reject], uri: str) -> pa.Table:
    """Return rows for `rejected_events`, without their `load_id`."""
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
    """Select rejects by reason and by earliest `rejected_at`; None selects all."""

    reason: str | None = None
    since: datetime | None = None

    @property
    def condition(self) -> tuple[str, list[Any]]:
        """The SQL condition and its parameters."""
        terms = {"reason = %s": self.reason, "rejected_at >= %s": self.since}
        given = {term: value for term, value in terms.items() if value is not None}
        return " and ".join(["true", *given]), list(given.values())


_FIELDS = ("rejected_id", "load_id", "uri", "line", "reason", "detail", "rejected_at", "replayed_at")
_SELECT = f"select {', '.join(_FIELDS)}"


def list_rejects(warehouse: Warehouse, limit: int) -> list[dict[str, Any]]:
    """Return the newest rejects, at most `limit`, without their bytes."""
    with warehouse.transaction():
        rows = warehouse.fetch(f"{_SELECT} from rejected_events order by rejected_id desc limit %s", limit)
    return [dict(zip(_FIELDS, row, strict=True)) for row in rows]


def read_reject(warehouse: Warehouse, rejected_id: int) -> tuple[dict[str, Any], bytes]:
    """Return a reject and its bytes.

    Raises UsageError if there is no reject with this number.
    """
    with warehouse.transaction():
        rows = warehouse.fetch(f"{_SELECT}, raw from rejected_events where rejected_id = %s", rejected_id)
    if not rows:
        raise UsageError(f"there is no reject {rejected_id}; `selligent-loader rejects list` lists them")
    return dict(zip(_FIELDS, rows[0], strict=False)), rows[0][-1]


#: Rejects that one query of an export reads.
_PAGE_ROWS = 1000
_EXPORT = f"""
    select rejected_id, load_id, uri, line, reason, raw from rejected_events
    where rejected_id > %s and replayed_at is null and {{chosen}}
    order by rejected_id limit {_PAGE_ROWS}
"""


def export_rejects(warehouse: Warehouse, choice: RejectFilter) -> Iterator[bytes]:
    """Yield the content of a file with the rejects that have not been replayed, one per line.

    Line breaks inside a reject, which only elements of a JSON array can have, become blanks. The pieces of a line that
    was too long are joined to one line.
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
    """Delete rejects older than `until`; with `discards` also discarded values, except those that wait for a column.

    Returns the number of deleted rows by kind.
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
