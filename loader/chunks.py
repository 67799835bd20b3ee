"""Chunks: some megabytes of raw lines, as an Arrow array on the bytes that were read, without an object a line."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from loader.elements import read_elements
from loader.rejects import Reject

#: Bytes read at a time: large enough that fixed costs vanish, small enough that several fit in memory.
CHUNK_SIZE = 8 << 20
#: Bytes above which a line is no event: it comes in pieces, so that memory stays bounded.
MAX_LINE = 16 << 20
BOM = b"\xef\xbb\xbf"


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


def read_chunks(stream: IO[bytes], *, position: int = 0, line: int = 1, size: int = CHUNK_SIZE) -> Iterator[Chunk]:
    """Yield the lines of a stream from `position` (bytes) on, the first of which is number `line`.

    Raises ElementError for an array with an element that is too long.
    """
    start = _peek(stream)
    last = _skip(stream, position)
    begun = position > 0
    if not begun and start.startswith(BOM):
        position = len(stream.read(len(BOM)))
    if not start.removeprefix(BOM).lstrip().startswith(b"["):
        yield from _read_lines(stream, position, line, size, inside=begun and last != b"\n")
        return
    for texts, count, ended in read_elements(stream, size, MAX_LINE, begun=begun):
        yield Chunk(texts, line, line := line + len(texts), position := position + count, ended=ended)


def _peek(stream: IO[bytes]) -> bytes:
    return bytes(stream.peek(64))  # type: ignore[attr-defined]


def _skip(stream: IO[bytes], count: int) -> bytes:
    """Read over the first bytes and return the last of them."""
    last = b""
    while count and (read := stream.read(min(count, CHUNK_SIZE))):
        count, last = count - len(read), read[-1:]
    return last


def _read_lines(stream: IO[bytes], position: int, line: int, size: int, inside: bool) -> Iterator[Chunk]:
    """Yield whole lines; `inside` tells that the stream stands in the middle of an overlong one."""
    while buffer := stream.readline(MAX_LINE) if inside else stream.read(size):
        if not inside and not buffer.endswith(b"\n"):
            rest = stream.readline(MAX_LINE)
            buffer += rest
            inside = len(rest) == MAX_LINE
        whole = len(buffer) if not inside else buffer.rfind(b"\n", 0, len(buffer) - 1) + 1
        if whole:
            texts = _lines(buffer[:whole])
            position += whole
            yield Chunk(texts, line, line := line + len(texts), position, ended=buffer.endswith(b"\n", 0, whole))
        if inside:
            piece = buffer[whole:]
            inside = not piece.endswith(b"\n")
            position += len(piece)
            yield Chunk(pa.array([piece], pa.binary()), line, line := line + (not inside), position, overlong=True)


def _lines(buffer: bytes) -> pa.Array:
    """Return one value per line, on the buffer itself."""
    ends = np.flatnonzero(np.frombuffer(buffer, np.uint8) == ord("\n")).astype(np.int32) + 1
    if not buffer.endswith(b"\n"):
        ends = np.append(ends, np.int32(len(buffer)))
    offsets = np.concatenate([np.zeros(1, np.int32), ends])
    return pa.Array.from_buffers(pa.binary(), len(ends), [None, pa.py_buffer(offsets), pa.py_buffer(buffer)])
