"""Read the body of a batch call that is larger than an event may be, with a bounded amount of memory.

The fields that its events share may come after them. So the events are copied to a temporary file first.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import IO, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from loader.inputs.chunk import CHUNK_SIZE, MAX_LINE, Chunk
from loader.inputs.json_tokens import OPEN_OBJECT, QUOTE, find_tokens
from loader.inputs.json_values import BATCH

#: Bytes of the fields that the events of such a batch share: each event is read with a copy of them.
MAX_SHARED = 1 << 20


class Stream(Protocol):
    """What is read from."""

    def read(self, size: int, /) -> bytes:
        """Return at most so many bytes, none at the end."""


class BatchError(Exception):
    """A batch above MAX_LINE has no end, or too long fields beside its events."""


@dataclass(frozen=True, slots=True)
class Batch:
    """The text before and after the events of a batch, and their size."""

    head: bytes
    size: int
    tail: bytes


def find_events(block: bytearray, start: int) -> int | None:
    """Return where the events begin of a batch that begins at `start`; None if it is no batch."""
    found = BATCH.search(block, start)
    if not found or block[start] != OPEN_OBJECT:
        return None
    tokens = find_tokens(np.frombuffer(block, np.uint8)[start : found.end()], 0)
    is_list = start + tokens.places[-1] + 1 == found.end() and tokens.before[-1] == 1
    return found.end() if is_list else None


def copy_events(head: bytes, text: bytes, stream: Stream, spool: IO[bytes]) -> tuple[Batch, bytes]:
    """Copy the events of a batch to a spool, and rewind it; return the batch, and what has been read after it.

    The events begin with `text` and go on in the stream. Raises BatchError.
    """
    tail = bytearray(b"]")
    rest = _copy_until(1, text, 2, stream, spool.write)
    size = spool.tell() - len(tail)
    rest = _copy_until(0, rest, 1, stream, tail.extend)
    if len(head) + len(tail) > MAX_SHARED:
        raise BatchError(f"has a batch whose events share fields of more than {MAX_SHARED >> 20} MB")
    spool.seek(0)
    return Batch(head, size, bytes(tail)), rest


def _copy_until(end: int, text: bytes, depth: int, stream: Stream, write: Callable[[bytes], object]) -> bytes:
    """Write text that begins at a nesting depth, until the depth is `end`; return what has been read after that."""
    while True:
        tokens = find_tokens(np.frombuffer(text, np.uint8), depth)
        ends = np.flatnonzero(tokens.after == end)
        cuts = ends[:1] if len(ends) else np.flatnonzero(tokens.kinds != QUOTE)[-1:]
        for cut in cuts:
            place, depth = int(tokens.places[cut]) + 1, int(tokens.after[cut])
            write(text[:place])
            text = text[place:]
        if len(ends):
            return text
        more = stream.read(CHUNK_SIZE) if len(text) <= MAX_LINE else b""
        if not more:
            raise BatchError("has a batch without an end")
        text += more


class LimitedStream:
    """The first bytes of a stream."""

    def __init__(self, stream: IO[bytes], size: int) -> None:
        self._stream, self._left = stream, size

    def read(self, size: int) -> bytes:
        read = self._stream.read(min(size, self._left))
        self._left -= len(read)
        return read


def wrap_events(chunk: Chunk, batch: Batch, offset: int) -> Iterator[Chunk]:
    """Yield events, each as a batch of its own; `offset` is the position of the first one of the batch in the file."""
    if chunk.overlong:
        yield replace(chunk, end=chunk.end + offset)
        return
    count = len(chunk.texts)
    shared = len(batch.head) + len(batch.tail)
    parts = 1 + (chunk.texts.nbytes + shared * count) // CHUNK_SIZE
    for part in chunk.split(int(parts)):
        texts = pc.binary_join_element_wise(
            pa.scalar(batch.head, pa.binary()), part.texts, pa.scalar(batch.tail, pa.binary()), b""
        )
        yield Chunk(
            texts,
            part.first_line,
            part.next_line,
            part.end + offset,
            lines=part.lines,
            positions=part.beginnings() + offset,
        )
