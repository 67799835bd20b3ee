"""Duplicates: events of one chunk that have one key."""

from collections.abc import Mapping
from dataclasses import dataclass

from loader.scratch import Scratch

#: id and original_timestamp, in microseconds of the Unix epoch.
Key = tuple[str, int | None]
#: The verdict on events that are set aside until it is known what is stored.
REPEATED = "repeated"

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
    """An event whose key another one of the chunk has, which was received before it."""

    n: int
    key: Key
    #: The table it would go to, and that of the first one.
    event: str
    first_event: str

    @property
    def is_duplicate(self) -> bool:
        """Tell whether it is the first one again, and no conflict with it."""
        return self.event == self.first_event


def set_repeated_aside(scratch: Scratch, tables: Mapping[str, str]) -> list[Repeated]:
    """Let the first event of each key stay, and return the others."""
    scratch.execute(_REPEATED)
    first: dict[Key, str] = {}
    others: list[Repeated] = []
    for n, id_, time, event_text in scratch.rows(_FIND):
        event = tables[event_text]
        if (id_, time) in first:
            others.append(Repeated(n, (id_, time), event, first[id_, time]))
        else:
            first[id_, time] = event
    if others:
        numbers = ", ".join(str(repeated.n) for repeated in others)
        scratch.execute(f"update envelope set verdict = '{REPEATED}' where n in ({numbers})")
    return others
