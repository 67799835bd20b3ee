"""The batch that a chunk becomes, and the detection of duplicate keys within it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pyarrow as pa
import pyarrow.compute as pc

from loader.duckdb import Session
from loader.events.outcomes import Reject
from loader.inputs.chunk import Chunk
from loader.schema.event_tables import TRACKS
from loader.transform.parse import Lines

#: id, and original_timestamp in microseconds since the Unix epoch.
Key = tuple[str, int | None]
#: The verdict on events whose key an earlier one has. The writer decides whether they are duplicates or conflicts.
REPEATED = "repeated"

_REPEATED = """
    create or replace temp table repeated as
    select original_timestamp, id from envelope where verdict is null group by all having count(*) > 1
"""
#: The event received first comes first; the line number makes the order deterministic.
_FIND = """
    select n, envelope.id, epoch_us(envelope.original_timestamp), event_text
    from envelope join repeated
        on repeated.id = envelope.id and repeated.original_timestamp is not distinct from envelope.original_timestamp
    where verdict is null
    order by envelope.original_timestamp, envelope.id, received_at, line
"""


@dataclass(frozen=True, slots=True)
class Repeated:
    """An event with the key of an event in the same chunk that was received earlier."""

    n: int
    key: Key
    #: Its table, and that of the first event with the key.
    event: str
    first_event: str

    @property
    def is_duplicate(self) -> bool:
        """Whether both have the same table, so that this is not a key conflict."""
        return self.event == self.first_event


def mark_duplicates(session: Session, tables: Mapping[str, str]) -> list[Repeated]:
    """Mark all but the first event of each key as `repeated`, and return them."""
    session.execute(_REPEATED)
    first: dict[Key, str] = {}
    others: list[Repeated] = []
    for n, id_, time, event_text in session.rows(_FIND):
        event = tables[event_text]
        if (id_, time) in first:
            others.append(Repeated(n, (id_, time), event, first[id_, time]))
        else:
            first[id_, time] = event
    if others:
        numbers = ", ".join(str(repeated.n) for repeated in others)
        session.execute(f"update envelope set verdict = '{REPEATED}' where n in ({numbers})")
    return others


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of one table, and the number in the chunk of each row's event."""

    numbers: pa.ChunkedArray
    rows: pa.Table

    def without(self, numbers: pa.Array) -> "Part":
        """Return the rows of all events except these; itself if it has none of these."""
        gone = pc.is_in(self.numbers, numbers)
        return self.filter(pc.invert(gone)) if pc.any(gone).as_py() else self

    def only(self, numbers: pa.Array) -> "Part":
        """Return the rows of these events."""
        return self.filter(pc.is_in(self.numbers, numbers))

    def filter(self, mask: pa.ChunkedArray) -> "Part":
        """Return the rows for which the mask is true."""
        return Part(self.numbers.filter(mask), self.rows.filter(mask))


def merge_parts(parts: Sequence[Part]) -> Part:
    """Concatenate parts with the same columns."""
    numbers = [chunk for part in parts for chunk in part.numbers.chunks]
    return Part(pa.chunked_array(numbers, pa.int32()), pa.concat_tables([part.rows for part in parts]))


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows by table (`tracks` has one row per event), rejects and discarded values; `lines` has the raw events."""

    chunk: Chunk
    lines: Lines | None = None
    parts: Mapping[str, Part] = field(default_factory=dict)
    rejects: Sequence[Reject] = ()
    #: Duplicates of, or conflicts with, the stored event with their key, if there is one, else the first in the chunk.
    repeated: Sequence[Repeated] = ()
    discards: Part | None = None
    #: Numbers of the events whose times are by a wrong clock.
    clock_suspects: pa.Array | None = None
    #: Counts that do not follow from the other fields: events read, ignored and so on, by column of the ledger.
    others: Mapping[str, int] = field(default_factory=dict)
    #: Version of the list of suppressed people whose events have been left out; 0 if none have been.
    suppression: int = 0

    @property
    def counts(self) -> Counter[str]:
        """The counts of the batch, by column of the ledger."""
        counts = Counter(self.others)
        counts["events_loaded"] = self.parts[TRACKS].rows.num_rows if self.parts else 0
        if self.parts and self.clock_suspects:
            known = pc.is_in(self.parts[TRACKS].numbers, self.clock_suspects)
            counts["events_clock_suspect"] = pc.sum(known).as_py() or 0
        counts["events_rejected"] = len(self.rejects)
        counts["events_duplicate"] += len(self.repeated)
        counts["values_discarded"] = self.discards.rows.num_rows if self.discards else 0
        return counts

    def without(self, numbers: Sequence[int], rejects: Sequence[Reject] = ()) -> "Batch":
        """Return the batch without these events. Those without a reject among `rejects` count as duplicates."""
        gone = pa.array(numbers, pa.int32())
        duplicates = Counter(events_duplicate=len(numbers) - len(rejects))
        return replace(
            self,
            parts={table: part.without(gone) for table, part in self.parts.items()},
            discards=self.discards and self.discards.without(gone),
            rejects=[*self.rejects, *rejects],
            others=Counter(self.others) + duplicates,
        )
