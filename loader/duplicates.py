"""Duplicates: events of one chunk that have one key."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from loader.scratch import Scratch

#: The verdict on an event whose key belongs to an event of another table.
CONFLICT = "key_conflict"

_REPEATED = """
    create or replace temp table repeated as
    select original_timestamp, id from envelope where verdict is null group by all having count(*) > 1
"""
#: The one received first comes first, and of those received together always the same.
_FIND = """
    select n, envelope.id, epoch_us(envelope.original_timestamp), event_text
    from envelope join repeated
        on repeated.id = envelope.id and repeated.original_timestamp is not distinct from envelope.original_timestamp
    where verdict is null
    order by envelope.original_timestamp, envelope.id, received_at, line
"""


@dataclass(frozen=True, slots=True)
class Repeated:
    """An event whose key another one of the chunk has, which was received before it and goes to another table."""

    n: int
    #: id and original_timestamp, in microseconds of the Unix epoch.
    key: tuple[str, int | None]
    event: str
    first_event: str


def mark_duplicates(scratch: Scratch, tables: Mapping[str, str]) -> list[Repeated]:
    """Let the first event of each key stay; return the others that are no duplicates of it."""
    scratch.execute(_REPEATED)
    first: dict[tuple[str, int | None], str] = {}
    same: list[int] = []
    others: list[Repeated] = []
    for n, id_, time, event_text in scratch.rows(_FIND):
        event = tables[event_text]
        if (id_, time) not in first:
            first[id_, time] = event
        elif first[id_, time] == event:
            same.append(n)
        else:
            others.append(Repeated(n, (id_, time), event, first[id_, time]))
    _mark(scratch, same, "duplicate")
    _mark(scratch, [repeated.n for repeated in others], CONFLICT)
    return others


def _mark(scratch: Scratch, numbers: Iterable[int], verdict: str) -> None:
    if listed := ", ".join(map(str, numbers)):
        scratch.execute(f"update envelope set verdict = '{verdict}' where n in ({listed})")
