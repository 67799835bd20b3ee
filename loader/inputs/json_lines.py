"""Read JSON values in chunks of several megabytes: one a line, or in any other layout.

The texts of a chunk are an Arrow array on the buffer that was read, without a Python object per value. A block of lines
that all look like objects is cut at its line ends only. Any other block is split by `loader.inputs.json_values`.
"""

import re
import tempfile
from codecs import BOM_UTF8
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from loader.inputs.chunk import CHUNK_SIZE, MAX_LINE, Chunk
from loader.inputs.json_batch import LimitedStream, Stream, copy_events, find_events, wrap_events
from loader.inputs.json_tokens import CLOSE_OBJECT, NEWLINE, OPEN_OBJECT, RETURN, Ints
from loader.inputs.json_values import next_value, skip_separators, split_values

#: A line that may begin a JSON object, array or record of a sequence.
_BEGINNING = re.compile(rb"(?:^|\n)[ \t\r,\xef\xbb\xbf]*[{\[\x1e]")


#: Bytes at the beginning of a file in which a line must begin like JSON.
MAX_START = 1 << 16
#: Bytes at the end of a piece of an overlong value in which the next value may begin.
_MARGIN = 256


class NoJsonError(Exception):
    """No line at the beginning of a file begins like JSON."""


def read_chunks(stream: Stream, *, position: int = 0, size: int = CHUNK_SIZE) -> Iterator[Chunk]:
    """Yield the values of a stream that end after a position (bytes), with the lines on which they begin.

    What is before the position is read too, because it decides what a value is: an array around it, or the fields that
    the events of a batch share. Raises NoJsonError, and BatchError for a batch above MAX_LINE that is truncated.
    """
    for chunk in _Reader(stream, size).chunks():
        if chunk.end > position:
            yield chunk.after(position)


class _Reader:
    """Reads one stream."""

    def __init__(self, stream: Stream, size: int, line: int = 1, *, in_batch: bool = False) -> None:
        self._stream, self._size, self._in_batch = stream, size, in_batch
        #: What has been read and not been yielded, where it begins, and its depth: 1 in an array.
        self._rest, self._position, self._line, self._depth = b"", 0, line, int(in_batch)

    def chunks(self) -> Iterator[Chunk]:
        if not self._in_batch:
            self._read_start()
        final = False
        while not final:
            more = self._stream.read(self._size)
            final, block = not more, self._rest + more
            whole = block.rfind(b"\n") + 1
            if self._depth == 0 and whole and not final and (ends := line_ends(block, whole)) is not None:
                yield self._chunk(block, ends)
                self._rest = block[whole:]
            else:
                yield from self._split(bytearray(block), final=final)
            if len(self._rest) > MAX_LINE:
                yield from self._read_overlong()

    def _read_start(self) -> None:
        """Read until a line begins like JSON, and leave out a byte-order mark."""
        start = self._stream.read(len(BOM_UTF8))
        if start == BOM_UTF8:
            self._position, start = len(BOM_UTF8), b""
        while not _BEGINNING.search(start) and len(start) < MAX_START and (more := self._stream.read(self._size)):
            start += more
        if start.strip() and not _BEGINNING.search(start):
            line = start.strip().partition(b"\n")[0][:60].decode("utf-8", "replace")
            raise NoJsonError(f"no line begins with {{ or [, the first with {line!r}")
        self._rest = start

    def _split(self, block: bytearray, *, final: bool) -> Iterator[Chunk]:
        found = split_values(block, self._depth, final=final)
        self._depth = found.depth
        starts, ends, end = [*found.starts], [*found.ends], found.end
        if final and end < len(block) and (start := skip_separators(block, end, found.depth)) < len(block):
            starts.append(np.array([start]))
            ends.append(np.array([len(block)]))
        if ends:
            yield self._chunk(block, np.concatenate(ends), np.concatenate(starts), ended=int(ends[-1][-1]) == end)
        self._rest = bytes(block[end:])

    def _chunk(self, block: bytes | bytearray, ends: Ints, starts: Ints | None = None, *, ended: bool = True) -> Chunk:
        """Return the values of a block with these ends, and go on after them."""
        offsets = np.append(np.zeros(1, np.int32), ends.astype(np.int32))
        buffers: list[Any] = [None, pa.py_buffer(offsets), pa.py_buffer(block)]
        texts = pa.Array.from_buffers(pa.binary(), len(ends), buffers)
        first, lines, count = self._line, None, len(ends)
        if starts is not None:
            breaks = np.flatnonzero(np.frombuffer(block, np.uint8)[: ends[-1]] == NEWLINE)
            lines = first + np.searchsorted(breaks, starts)
            count = len(breaks) + (not ended and block[-1] != NEWLINE and not self._in_batch)
        self._line += count
        self._position += int(ends[-1])
        return Chunk(texts, first, self._line, self._position, ended=ended, lines=lines)

    def _read_overlong(self) -> Iterator[Chunk]:
        """Yield a value above MAX_LINE: the events of a batch one by one, or any other in pieces."""
        block = bytearray(self._rest)
        start = skip_separators(block, 0, self._depth)
        if not self._in_batch and (events := find_events(block, start)):
            yield from self._read_batch(bytes(block), start, events)
            return
        pattern, place, final = next_value(block, start, self._depth), start + 1, False
        while (found := pattern.search(block, place)) is None and not final:
            size = max(len(block) - _MARGIN, 0)
            for begin in range(0, size, MAX_LINE):
                yield self._piece(block[begin : min(begin + MAX_LINE, size)])
            more = self._stream.read(MAX_LINE)
            block, place, final = block[size:] + more, 0, not more
        end = found.end() if found else len(block)
        for begin in range(0, end, MAX_LINE):
            yield self._piece(block[begin : min(begin + MAX_LINE, end)])
        self._rest = bytes(block[end:])

    def _piece(self, piece: bytes | bytearray) -> Chunk:
        first, self._line = self._line, self._line + piece.count(b"\n")
        self._position += len(piece)
        return Chunk(pa.array([bytes(piece)], pa.binary()), first, self._line, self._position, overlong=True)

    def _read_batch(self, block: bytes, start: int, events: int) -> Iterator[Chunk]:
        """Yield the events of a batch, which begin at `events`, each in a batch of its own with what they share."""
        with tempfile.TemporaryFile() as spool:
            batch, self._rest = copy_events(block[start:events], block[events:], self._stream, spool)
            self._line += block.count(b"\n", 0, events)
            self._position += events
            reader = _Reader(LimitedStream(spool, batch.size), self._size, self._line, in_batch=True)
            for chunk in reader.chunks():
                yield from wrap_events(chunk, batch, self._position)
            spool.seek(0)
            pieces = iter(lambda: spool.read(self._size), b"")
            self._line += sum(piece.count(b"\n") for piece in pieces) + batch.tail.count(b"\n")
        self._position += batch.size + len(batch.tail)


def line_ends(block: bytes, size: int) -> Ints | None:
    r"""Return the ends of the lines that the first `size` bytes are; None if one of them does not look like an object.

    >>> line_ends(b'{"a":1}\n\n{}\r\n', 13), line_ends(b'{"a":\n1}\n', 9)
    (array([ 8,  9, 13], dtype=int32), None)
    """
    text = np.frombuffer(block, np.uint8, size)
    ends = np.flatnonzero(text == NEWLINE).astype(np.int32) + 1
    firsts = np.append(np.int32(0), ends[:-1])
    lasts = ends - 2
    lasts -= text[lasts] == RETURN
    is_object = (text[firsts] == OPEN_OBJECT) & (text[lasts] == CLOSE_OBJECT)
    return ends if (is_object | (lasts < firsts)).all() else None
