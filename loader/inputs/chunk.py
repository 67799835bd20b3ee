"""?"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from loader.events.outcomes import Reject

#: Bytes read at a time: large enough that fixed costs vanish, small enough that several fit in memory.
CHUNK_SIZE = 8 << 20
#: Bytes above which a line is no event: it comes in pieces, so that memory stays bounded.
MAX_LINE = 16 << 20


@dataclass(frozen=True, slots=True)
class Chunk:
    """Events of a file: their `texts` (Arrow binary), the numbers of the first and the next line, where they end.

    The elements of a JSON array are its lines. An `overlong` chunk is a piece of a line that is too long. The last
    text of a chunk that is not `ended` lacks its line end: the file ends there, or was cut off. Rows of a table are
    texts too; they may be on any `lines`, beside `rejects` that are no rows.
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
        """Return the number of the line where text `n` begins."""
        return self.first_line + n if self.lines is None else int(self.lines[n])

    def raw(self, n: int) -> bytes:
        """Return line `n` of the chunk as it came, without its line end."""
        text: bytes = self.texts[n].as_py()
        return text.removesuffix(b"\n").removesuffix(b"\r")

    def without_last(self) -> "Chunk":
        """Return the chunk without its last text."""
        last = self.texts[-1].as_py()
        return Chunk(self.texts[:-1], self.first_line, self.next_line - 1, self.end - len(last))
