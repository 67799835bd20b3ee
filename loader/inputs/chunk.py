"""A chunk of raw events, which every input yields."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from loader.events.outcomes import Reject

#: Bytes read at a time: large enough to make fixed costs negligible, small enough to hold several in memory.
CHUNK_SIZE = 8 << 20
#: Maximum size of an event in bytes. A longer line is yielded in pieces, which bounds the memory used.
MAX_LINE = 16 << 20


@dataclass(frozen=True, slots=True)
class Chunk:
    """Raw events of a file: their `texts` (Arrow binary), the first and the next line number, and the end position.

    Positions are decompressed bytes, or rows of a Parquet file or a data frame. Elements of a JSON array are numbered
    as lines. If `overlong`, the only text is a piece of a line above MAX_LINE. If not `ended`, the last text has no
    line end or separator: the file ends there, or is truncated. For rows of a table, `lines` has the line number of
    each text, and `rejects` the malformed rows.
    """

    texts: pa.Array
    first_line: int
    next_line: int
    end: int
    overlong: bool = False
    ended: bool = True
    lines: npt.NDArray[np.int64] | None = None
    rejects: tuple[Reject, ...] = ()

    def line(self, n: int) -> int:
        """Return the number of the line on which text `n` begins."""
        return self.first_line + n if self.lines is None else int(self.lines[n])

    def raw(self, n: int) -> bytes:
        """Return the bytes of text `n` without its line end."""
        text: bytes = self.texts[n].as_py()
        return text.removesuffix(b"\n").removesuffix(b"\r")

    def without_last(self) -> "Chunk":
        """Return the chunk without its last text."""
        last = self.texts[-1].as_py()
        return Chunk(self.texts[:-1], self.first_line, self.next_line - 1, self.end - len(last))
