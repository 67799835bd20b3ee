"""Chunks: some megabytes of raw lines, as an Arrow array on the bytes that were read, without an object a line."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

import numpy as np
import pyarrow as pa

#: Bytes read at a time: large enough that fixed costs vanish, small enough that several fit in memory.
CHUNK_SIZE = 8 << 20
#: Bytes after which a line is cut and goes on as the next one, so that memory stays bounded.
MAX_LINE = 16 << 20
BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Chunk:
    """Lines of a file: `texts` (Arrow binary, with line ends), the number of the first, the position after the last."""

    texts: pa.Array
    first_line: int
    end: int

    def raw(self, n: int) -> bytes:
        """Return line `n` of the chunk as it came, without its line end."""
        text: bytes = self.texts[n].as_py()
        return text.removesuffix(b"\n").removesuffix(b"\r")

    @property
    def next_line(self) -> int:
        return self.first_line + len(self.texts)


def read_chunks(stream: IO[bytes], *, position: int = 0, line: int = 1, size: int = CHUNK_SIZE) -> Iterator[Chunk]:
    """Yield the lines of a stream that stands at `position` (bytes), the first of which is number `line`."""
    while buffer := stream.read(size):
        if not buffer.endswith(b"\n"):
            buffer += stream.readline(MAX_LINE)
        end = position + len(buffer)
        if position == 0:
            buffer = buffer.removeprefix(BOM)
        if buffer:
            chunk = Chunk(_lines(buffer), line, end)
            yield chunk
            line = chunk.next_line
        position = end


def _lines(buffer: bytes) -> pa.Array:
    """Return one value per line, on the buffer itself."""
    ends = np.flatnonzero(np.frombuffer(buffer, np.uint8) == ord("\n")).astype(np.int32) + 1
    if not buffer.endswith(b"\n"):
        ends = np.append(ends, np.int32(len(buffer)))
    offsets = np.concatenate([np.zeros(1, np.int32), ends])
    return pa.Array.from_buffers(pa.binary(), len(ends), [None, pa.py_buffer(offsets), pa.py_buffer(buffer)])
