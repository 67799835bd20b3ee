"""Duplicates: events of one chunk that have one key."""

from collections.abc import Iterable, Mapping

from loader.scratch import Scratch
from loader.values import quote

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


def mark_duplicates(scratch: Scratch, tables: Mapping[str, str]) -> None:
    """Let the first event of each key stay: the others are duplicates, or conflicts if they go to other tables."""
    scratch.execute(_REPEATED)
    first: dict[tuple[str, int | None], str] = {}
    same: list[int] = []
    conflicts: dict[str, list[int]] = {}
    for n, id_, time, event_text in scratch.rows(_FIND):
        table = tables[event_text]
        if (id_, time) not in first:
            first[id_, time] = table
        elif first[id_, time] == table:
            same.append(n)
        else:
            conflicts.setdefault(first[id_, time], []).append(n)
    _mark(scratch, same, "verdict = 'duplicate'")
    for event, numbers in conflicts.items():
        _mark(scratch, numbers, f"verdict = 'key_conflict', conflict = {quote(event)}")


def _mark(scratch: Scratch, numbers: Iterable[int], change: str) -> None:
    if listed := ", ".join(map(str, numbers)):
        scratch.execute(f"update envelope set {change} where n in ({listed})")
