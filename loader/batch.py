"""Batch: what a chunk became, ready to be written in one transaction."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pyarrow as pa
import pyarrow.compute as pc

from loader.chunks import Chunk
from loader.duplicates import Repeated
from loader.lines import Lines
from loader.rejects import Reject
from loader.tables import TRACKS


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of one table, and for each the number of its event in the chunk."""

    numbers: pa.ChunkedArray
    rows: pa.Table

    def without(self, numbers: pa.Array) -> "Part":
        """Return the rows of all events but these; itself if it has none of them."""
        gone = pc.is_in(self.numbers, numbers)
        return self.filter(pc.invert(gone)) if pc.any(gone).as_py() else self

    def only(self, numbers: pa.Array) -> "Part":
        """Return the rows of these events."""
        return self.filter(pc.is_in(self.numbers, numbers))

    def filter(self, mask: pa.ChunkedArray) -> "Part":
        """Return the rows for which the mask is true."""
        return Part(self.numbers.filter(mask), self.rows.filter(mask))


def merged(parts: Sequence[Part]) -> Part:
    """Return all rows of parts that have the same columns."""
    numbers = [chunk for part in parts for chunk in part.numbers.chunks]
    return Part(pa.chunked_array(numbers, pa.int32()), pa.concat_tables([part.rows for part in parts]))


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows by table (`tracks` has one an event), rejects, values to discard; `lines` finds an event's bytes."""

    chunk: Chunk
    lines: Lines | None = None
    parts: Mapping[str, Part] = field(default_factory=dict)
    rejects: Sequence[Reject] = ()
    #: Duplicates, or conflicts with the first event of their key; with the one that is stored if there is one.
    repeated: Sequence[Repeated] = ()
    discards: Part | None = None
    #: Events that became nothing of these, as the ledger counts them, and how many were read.
    others: Mapping[str, int] = field(default_factory=dict)

    @property
    def counts(self) -> Counter[str]:
        """What the ledger says of it."""
        counts = Counter(self.others)
        counts["events_loaded"] = self.parts[TRACKS].rows.num_rows if self.parts else 0
        counts["events_rejected"] = len(self.rejects)
        counts["events_duplicate"] += len(self.repeated)
        counts["values_discarded"] = self.discards.rows.num_rows if self.discards else 0
        return counts

    def without(self, numbers: Sequence[int], rejects: Sequence[Reject] = ()) -> "Batch":
        """Return the batch without these events, which are rejects or, the others of them, duplicates."""
        gone = pa.array(numbers, pa.int32())
        duplicates = Counter(events_duplicate=len(numbers) - len(rejects))
        return replace(
            self,
            parts={table: part.without(gone) for table, part in self.parts.items()},
            discards=self.discards and self.discards.without(gone),
            rejects=[*self.rejects, *rejects],
            others=Counter(self.others) + duplicates,
        )
