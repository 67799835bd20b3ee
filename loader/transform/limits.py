"""Limits of the work and the memory for a chunk, whatever the names of its events are.

The plan by shapes takes time for each path of each event. Chunks that exceed these limits are flattened instead, which
takes longer for ordinary events: `loader.transform.flatten`. Chunks that are still too large are split.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence, Sized

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from loader.inputs.chunk import Chunk

#: JSON values of a chunk, and of a single line, which cannot be split: each takes memory when it is parsed.
MAX_VALUES, MAX_LINE_VALUES = 1_000_000, 2_000_000
#: Bytes in which values are counted at a time, so that they stay in the cache of the processor.
_BLOCK = 1 << 18
#: Bytes of a chunk times the objects whose keys are looked up in each event.
MAX_LOOKUP_BYTES = 1_000_000_000
#: Keys of all shapes, and objects of all shapes.
MAX_KEYS = 100_000
#: Attempts to find all objects of a chunk. Most chunks need one for each level of nesting.
MAX_ATTEMPTS = 24
#: Values that are searched for paths which share a column with another path, and pairs of such paths.
MAX_SPELLED_VALUES, MAX_SPELLED_PAIRS = 10_000_000, 20_000
#: Values that are searched for paths without a column.
MAX_SEARCHED = 5_000_000
#: Values of repeated keys.
MAX_REPEATED = 50_000
#: Cells, which are events times columns, in the tables of a batch.
MAX_CELLS = 4_000_000
#: Bytes of a batch call, and of those that are expanded at a time: DuckDB takes up to a hundred times as much memory.
MAX_BODY, MAX_BODIES = 1 << 20, 2 << 20
#: Bytes of a chunk after the shared fields of batch calls have been copied into their events.
MAX_EXPANDED_BYTES = 64 << 20

#: Attempts to convert a chunk or parts of it, after which a part that cannot be converted is rejected as a whole.
MAX_TRIALS = 200

#: Keys of an event in a chunk that is flattened.
MAX_EVENT_KEYS = 50_000
#: The reject reason of an event that exceeds a limit, and of lines that cannot be converted.
TOO_COMPLEX = "too_complex"

#: Discarded values that are rows of their own in a batch.
MAX_DISCARDED = 100_000
#: Such values of one event, and their names in one chunk, if it is flattened. Others are in one JSON object an event.
EVENT_DISCARDS, DISCARDED_NAMES = 500, 20_000


class ManyNamesFound(Exception):  # noqa: N818
    """The events of a chunk have so many names that it has to be flattened."""


class TooLargeError(Exception):
    """A chunk takes too much memory; it has to be split into `parts`."""

    def __init__(self, what: str, parts: int) -> None:
        super().__init__(what)
        self.parts = parts


def count_values(text: bytes | memoryview) -> int:
    """Return about how many JSON values a text has: the number of its commas and opening brackets."""
    content = np.frombuffer(text, np.uint8)
    blocks = (content[start : start + _BLOCK] for start in range(0, len(content), _BLOCK))
    return sum(int(np.count_nonzero(block == sign)) for block in blocks for sign in b",[{")


def check_values(chunk: Chunk) -> None:
    """Raise TooLargeError if a chunk has too many JSON values."""
    count = count_values(chunk.content())
    limit = MAX_VALUES if len(chunk.texts) > 1 else MAX_LINE_VALUES
    if count > limit:
        raise TooLargeError(f"it has about {count:,} values", 1 + count // limit)


def check_lookups(size: int, objects: Sized) -> None:
    """Raise ManyNamesFound if too many objects are looked up in a chunk of `size` bytes."""
    if size * len(objects) > MAX_LOOKUP_BYTES:
        raise ManyNamesFound


def check_spellings(events: int, columns: Iterable[Sized]) -> None:
    """Raise ManyNamesFound if a table's columns, each given as its paths, have too many spellings."""
    pairs = sum(len(paths) * (len(paths) - 1) for paths in columns)
    if pairs > MAX_SPELLED_PAIRS or pairs * events > MAX_SPELLED_VALUES:
        raise ManyNamesFound


def check_discards(groups: Iterable[Sequence[tuple[int, Collection[object]]]]) -> None:
    """Raise ManyNamesFound if too many paths are searched for values without a column, TooLargeError for such values.

    A group has the number of events and the paths without a column of each of its shapes.
    """
    searched = discarded = 0
    for group in groups:
        paths = {path for _, without_column in group for path in without_column}
        searched += len(paths) * sum(events for events, _ in group)
        discarded += sum(events * len(without_column) for events, without_column in group)
    if searched > MAX_SEARCHED:
        raise ManyNamesFound
    check_rows(discarded)


def parts_to_expand(lines: pa.Table) -> Iterator[pa.Table]:
    """Yield a table of lines in parts of at most MAX_BODIES bytes, or of one line."""
    ends = np.cumsum(pc.binary_length(lines["line"]).to_numpy())
    start = 0
    while start < len(ends):
        before = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + MAX_BODIES, side="right")))
        yield lines.slice(start, stop - start)
        start = stop


def check_expanded(size: int) -> None:
    """Raise TooLargeError if the shared fields of batch calls take too many bytes in all of their events."""
    if size > MAX_EXPANDED_BYTES:
        raise TooLargeError(f"its events have {size:,} bytes of shared fields", 1 + size // MAX_EXPANDED_BYTES)


def check_cells(cells: int) -> None:
    """Raise TooLargeError if the tables of a batch have too many cells."""
    if cells > MAX_CELLS:
        raise TooLargeError(f"its rows have {cells:,} values, nulls included", 1 + cells // MAX_CELLS)


def check_rows(discarded: int) -> None:
    """Raise TooLargeError if a batch has too many discarded values that are rows of their own."""
    if discarded > MAX_DISCARDED:
        raise TooLargeError(f"{discarded:,} of its values are discarded", 1 + discarded // MAX_DISCARDED)
