"""Elements: a JSON array cut at its top-level commas, without parsing what is between them."""

from collections.abc import Iterator
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.intp]

QUOTE, BACKSLASH, BLANK = ord('"'), ord("\\"), ord(" ")
#: What each byte adds to the depth, and which bytes matter at all.
STEPS = np.zeros(256, np.int8)
STEPS[list(b"[{")] = 1
STEPS[list(b"]}")] = -1
STRUCTURAL = STEPS != 0
STRUCTURAL[ord(",")] = True


class ElementError(Exception):
    """An element that is too long to be an event."""


def read_elements(stream: IO[bytes], size: int, longest: int, *, begun: bool) -> Iterator[tuple[pa.Array, int, bool]]:
    """Yield the elements of an array, some at a time, how many bytes that was, and whether a separator ends the last.

    `begun` is after the array's `[`.

    Whatever is between two separators is an element; blank ones are left to the reader.
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
    """Return where the array begins, ends and has its own commas, and the depth after the last of these.

    >>> boundaries(np.frombuffer(b'[{"a": "],", "b": [1, 2]}, 3]', np.uint8), 0)[0].tolist()
    [0, 25, 28]
    """
    places = np.flatnonzero(STRUCTURAL[text])
    places = places[np.searchsorted(_quotes(text), places) % 2 == 0]
    steps = STEPS[text[places]].astype(np.int64)
    after = depth + np.cumsum(steps)
    own = np.maximum(after, after - steps) == 1
    return places[own], int(after[own][-1]) if own.any() else depth


def _quotes(text: Bytes) -> Ints:
    """Return the places of the quotes that begin or end a string."""
    quotes = np.flatnonzero(text == QUOTE)
    doubtful = quotes[(quotes > 0) & (text[quotes - 1] == BACKSLASH)]
    escaped = [place for place in doubtful.tolist() if _is_escaped(text, place)]
    return np.setdiff1d(quotes, np.array(escaped, np.intp), assume_unique=True) if escaped else quotes


def _is_escaped(text: Bytes, place: int) -> bool:
    start = place
    while start > 0 and text[start - 1] == BACKSLASH:
        start -= 1
    return (place - start) % 2 == 1
