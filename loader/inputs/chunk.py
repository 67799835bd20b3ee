"""A chunk of raw events, which every input yields."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from loader.events.outcomes import Reject

#: Bytes read at a time: large enough to make fixed costs negligible, small enough to hold several in memory.
CHUNK_SIZE = 8 << 20
#: Maximum size of an event in bytes. A longer line is yielded in pieces, which bounds the memory used.
MAX_LINE = 16 << 20


@dataclass(frozen=True, slots=True)
class Chunk:
    """Raw events of a file: their `texts` (Arrow binary), the first and the next line number, and the end position.

    Positions are decompressed bytes, or rows of a Parquet file or a data frame. If `overlong`, the only text is a piece
    of a value above MAX_LINE. If not `ended`, the last text has no line end and may not be complete: the file ends
    there, or is truncated. Where the texts are not one a line, `lines` has the line on which each begins. For texts
    that are not the bytes of the file, as rows of a table, `positions` has the position at which each begins, and
    `rejects` the malformed rows. If `has_decimal_commas`, texts of digits and a comma are numbers with a fraction:
    programs that write them delimit cells by semicolons.
    """

    texts: pa.Array
    first_line: int
    next_line: int
    end: int
    overlong: bool = False
    ended: bool = True
    lines: npt.NDArray[np.int64] | None = None
    rejects: tuple[Reject, ...] = ()
    positions: npt.NDArray[np.int64] | None = None
    has_decimal_commas: bool = False

    def line(self, n: int) -> int:
        """Return the number of the line on which text `n` begins."""
        return self.first_line + n if self.lines is None else int(self.lines[n])

    def raw(self, n: int) -> bytes:
        """Return the bytes of text `n` without its line end, or without blanks around it if it is not a line."""
        text: bytes = self.texts[n].as_py()
        return text.removesuffix(b"\n").removesuffix(b"\r") if self.lines is None else text.strip(b" \t\r\n")

    def content(self) -> memoryview:
        """Return the texts, one after the other, where they are."""
        _, offsets, content = self.texts.buffers()
        if content is None:
            return memoryview(b"")
        first = self.texts.offset
        begin, end = np.frombuffer(offsets, np.int32)[[first, first + len(self.texts)]].tolist()
        return memoryview(content)[begin:end]

    def without_last(self) -> "Chunk":
        """Return the chunk without its last text."""
        last, lines = len(self.texts) - 1, self.lines
        end = self.end - len(self.texts[last].as_py())
        return Chunk(
            self.texts[:last], self.first_line, self.line(last), end, lines=None if lines is None else lines[:last]
        )

    def after(self, position: int) -> "Chunk":
        """Return the texts that end after a position, which is that at which one of them begins, or is before all."""
        if self.overlong or (beginnings := self.beginnings())[0] >= position:
            return self
        return self._part(int(np.searchsorted(beginnings, position, "right")) - 1, len(self.texts))

    def split(self, parts: int) -> Iterator["Chunk"]:
        """Yield the texts in at most so many chunks of about the same number of texts, and at least one text."""
        count = len(self.texts)
        cuts = sorted({part * count // min(parts, count) for part in range(1, min(parts, count))})
        for start, stop in pairwise([0, *cuts, count]):
            yield self._part(start, stop)

    def with_parts(self, parts: Mapping[int, Sequence[bytes]]) -> "Chunk":
        """Return the chunk with some of its texts, by number, replaced by parts, which begin where the text began."""
        texts = [parts.get(n, [text]) for n, text in enumerate(self.texts.to_pylist())]
        counts = [len(found) for found in texts]
        return replace(
            self,
            texts=pa.array([text for found in texts for text in found], pa.binary()),
            lines=np.repeat([self.line(n) for n in range(len(texts))], counts),
            positions=np.repeat(self.beginnings(), counts),
        )

    def _part(self, start: int, stop: int) -> "Chunk":
        """Return texts with the malformed rows that come before the next part, but after the previous one."""
        first = self.line(start) if start else self.first_line
        is_last = stop == len(self.texts)
        next_line = self.next_line if is_last else self.line(stop)
        return Chunk(
            self.texts[start:stop],
            first,
            next_line,
            self.end if is_last else int(self.beginnings()[stop]),
            ended=self.ended or not is_last,
            lines=None if self.lines is None else self.lines[start:stop],
            rejects=tuple(r for r in self.rejects if first <= r.line and (is_last or r.line < next_line)),
            positions=None if self.positions is None else self.positions[start:stop],
            has_decimal_commas=self.has_decimal_commas,
        )

    def beginnings(self) -> npt.NDArray[np.int64]:
        """Return the positions at which the texts begin."""
        if self.positions is not None:
            return self.positions
        lengths = pc.binary_length(self.texts).to_numpy(zero_copy_only=False)
        return np.asarray(self.end - np.cumsum(lengths[::-1])[::-1])
