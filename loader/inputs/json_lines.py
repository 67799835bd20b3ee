"""Read JSON lines, or the elements of a JSON array, in chunks of several megabytes.

The texts of a chunk are an Arrow array on the buffer that was read, without a Python object per line.
"""

from codecs import BOM_UTF8
from collections.abc import Iterator
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from loader.inputs.chunk import CHUNK_SIZE, MAX_LINE, Chunk


def read_chunks(stream: IO[bytes], *, position: int = 0, line: int = 1, size: int = CHUNK_SIZE) -> Iterator[Chunk]:
    """Yield the lines of a stream from `position` (bytes) on, the first of which has number `line`.

    Raises ElementError if an array has an element above MAX_LINE bytes.
    """
    start = _peek(stream)
    last = _skip(stream, position)
    begun = position > 0
    if not begun and start.startswith(BOM_UTF8):
        position = len(stream.read(len(BOM_UTF8)))
    if not start.removeprefix(BOM_UTF8).lstrip().startswith(b"["):
        yield from _read_lines(stream, position, line, size, inside=begun and last != b"\n")
        return
    for texts, count, ended in read_elements(stream, size, MAX_LINE, begun=begun):
        yield Chunk(texts, line, line := line + len(texts), position := position + count, ended=ended)


def _peek(stream: IO[bytes]) -> bytes:
    return bytes(stream.peek(64))  # type: ignore[attr-defined]


def _skip(stream: IO[bytes], count: int) -> bytes:
    """Skip `count` bytes and return the last of them."""
    last = b""
    while count and (read := stream.read(min(count, CHUNK_SIZE))):
        count, last = count - len(read), read[-1:]
    return last


def _read_lines(stream: IO[bytes], position: int, line: int, size: int, inside: bool) -> Iterator[Chunk]:
    """Yield whole lines, and pieces of overlong ones; `inside` means that the stream is within an overlong line."""
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
    """Return one value per line, without copying the buffer."""
    ends = np.flatnonzero(np.frombuffer(buffer, np.uint8) == ord("\n")).astype(np.int32) + 1
    if not buffer.endswith(b"\n"):
        ends = np.append(ends, np.int32(len(buffer)))
    offsets = np.concatenate([np.zeros(1, np.int32), ends])
    return pa.Array.from_buffers(pa.binary(), len(ends), [None, pa.py_buffer(offsets), pa.py_buffer(buffer)])


Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.intp]

QUOTE, BACKSLASH, BLANK = ord('"'), ord("\\"), ord(" ")
#: What each byte adds to the nesting depth, and which bytes are brackets or commas.
STEPS = np.zeros(256, np.int8)
STEPS[list(b"[{")] = 1
STEPS[list(b"]}")] = -1
STRUCTURAL = STEPS != 0
STRUCTURAL[ord(",")] = True


class ElementError(Exception):
    """An element of an array exceeds the maximum size of an event."""


def read_elements(stream: IO[bytes], size: int, longest: int, *, begun: bool) -> Iterator[tuple[pa.Array, int, bool]]:
    """Yield elements of an array, the number of bytes they take, and whether a separator ends the last one.

    If `begun`, the stream is after the array's `[`. Everything between two separators is an element, even if blank.
    Raises ElementError for an element of more than `longest` bytes.
    """
    rest, depth = b"", int(begun)
    while buffer := stream.read(size):
        text = np.frombuffer(bytearray(rest + buffer), np.uint8)
        cuts, depth_after = boundaries(text, depth)
        if len(cuts):
            text[cuts] = BLANK
            whole, depth = int(cuts[-1]) + 1, depth_after
            yield _elements(text, np.concatenate([np.zeros(1, np.intp), cuts + 1])), whole, True
            rest = text[whole:].tobytes()
        elif len(text) > longest:
            raise ElementError(f"has an element of more than {longest >> 20} MB")
        else:
            rest = text.tobytes()
    if rest.strip():
        yield _elements(np.frombuffer(rest, np.uint8), np.array([0, len(rest)])), len(rest), False


def _elements(text: Bytes, offsets: Ints) -> pa.Array:
    buffers: list[Any] = [None, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(text)]
    return pa.Array.from_buffers(pa.binary(), len(offsets) - 1, buffers)


def boundaries(text: Bytes, depth: int) -> tuple[Ints, int]:
    """Return the offsets of the outer array's brackets and commas, and the nesting depth after the last of them.

    >>> boundaries(np.frombuffer(b'[{"a": "],", "b": [1, 2]}, 3]', np.uint8), 0)[0].tolist()
    [0, 25, 28]
    """
    offsets = np.flatnonzero(STRUCTURAL[text])
    offsets = offsets[np.searchsorted(_quotes(text), offsets) % 2 == 0]
    steps = STEPS[text[offsets]].astype(np.int64)
    after = depth + np.cumsum(steps)
    is_outer = np.maximum(after, after - steps) == 1
    return offsets[is_outer], int(after[is_outer][-1]) if is_outer.any() else depth


def _quotes(text: Bytes) -> Ints:
    """Return the offsets of the quotes that begin or end a string."""
    quotes = np.flatnonzero(text == QUOTE)
    doubtful = quotes[(quotes > 0) & (text[quotes - 1] == BACKSLASH)]
    escaped = [place for place in doubtful.tolist() if _is_escaped(text, place)]
    return np.setdiff1d(quotes, np.array(escaped, np.intp), assume_unique=True) if escaped else quotes


def _is_escaped(text: Bytes, place: int) -> bool:
    start = place
    while start > 0 and text[start - 1] == BACKSLASH:
        start -= 1
    return (place - start) % 2 == 1
