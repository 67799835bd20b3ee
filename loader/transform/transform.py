"""Convert chunks into batches in two steps, which two threads can run for successive chunks."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from queue import Empty, SimpleQueue

import numpy as np
import pyarrow.compute as pc

from loader.duckdb import Session
from loader.errors import LoaderError
from loader.events.fields import CONTEXT, PROPERTIES, Path
from loader.events.outcomes import Reject
from loader.events.times import DEFAULT_TIMES, TimeReading
from loader.inputs.chunk import Chunk
from loader.schema.catalog import Catalog
from loader.transform.assemble import assemble
from loader.transform.assemble_flat import assemble_flat
from loader.transform.batch import Batch
from loader.transform.json_pairs import split_body
from loader.transform.limits import (
    MAX_ATTEMPTS,
    MAX_BODY,
    MAX_LOOKUP_BYTES,
    MAX_TRIALS,
    MAX_VALUES,
    TOO_COMPLEX,
    ManyNamesFound,
    TooLargeError,
    check_values,
    count_values,
)
from loader.transform.parse import ParsedChunk, parse_chunk
from loader.transform.shapes import NestedObjectsFound

log = logging.getLogger(__name__)

#: Objects whose values have columns from the start. Others are found in the events.
OBJECTS: frozenset[Path] = frozenset({(CONTEXT,), (PROPERTIES,), (CONTEXT, "traits"), (CONTEXT, "library")})


@dataclass(frozen=True, slots=True)
class Unconverted:
    """A chunk that could not be converted as a whole, the reason, and into how many parts to split it."""

    chunk: Chunk
    reason: str
    parts: int = 2

    def rejects(self) -> Batch:
        """Return a batch in which all texts of the chunk are rejects."""
        texts = range(len(self.chunk.texts))
        rejects = [Reject(self.chunk.line(n), self.chunk.raw(n), TOO_COMPLEX, self.reason) for n in texts]
        rejects += self.chunk.rejects
        return Batch(self.chunk, rejects=rejects, others={"events_read": len(rejects)})


def _split_bodies(chunk: Chunk) -> Chunk:
    """Return a chunk that has several batch calls instead of each large one."""
    sizes = pc.binary_length(chunk.texts).to_numpy(zero_copy_only=False)
    large = {n: chunk.texts[n].as_py() for n in np.flatnonzero(sizes > MAX_BODY).tolist()}
    parts = {n: split_body(text) for n, text in large.items() if count_values(text) <= MAX_VALUES}
    return chunk.with_parts(parts) if any(len(bodies) > 1 for bodies in parts.values()) else chunk


def _unconverted(chunk: Chunk, failure: Exception) -> Unconverted:
    if isinstance(failure, TooLargeError):
        return Unconverted(chunk, str(failure), failure.parts)
    reason = f"{type(failure).__name__}: {failure}".partition("\n")[0][:500]
    log.warning("%d lines cannot be converted together: %s", len(chunk.texts), reason)
    log.debug("the error in full", exc_info=failure)
    return Unconverted(chunk, reason)


class Transform:
    """Converts chunks into batches: `prepare` parses the lines, `finish` adds tables and columns, in order of chunks.

    The objects found in one chunk are the starting point for the next.
    """

    def __init__(self, catalog: Catalog, times: TimeReading = DEFAULT_TIMES) -> None:
        self._catalog, self._times = catalog, times
        self._objects = OBJECTS
        self._free = SimpleQueue[Session]()

    def prepare(self, chunk: Chunk) -> ParsedChunk | Batch | Unconverted:
        """Return a chunk parsed for `finish`; a piece of an overlong line becomes a batch with one reject."""
        if chunk.overlong:
            reject = Reject(chunk.first_line, chunk.raw(0), "too_long")
            return Batch(chunk, rejects=[reject], others={"events_read": 1})
        is_cheap = chunk.texts.nbytes * len(self._objects) <= MAX_LOOKUP_BYTES
        try:
            chunk = _split_bodies(chunk)
            check_values(chunk)
            return parse_chunk(chunk, self._free_session(), self._objects if is_cheap else OBJECTS)
        except Exception as exc:
            return _unconverted(chunk, exc)

    def _free_session(self) -> Session:
        try:
            return self._free.get_nowait()
        except Empty:
            return Session(self._times)

    def finish(self, prepared: ParsedChunk | Batch | Unconverted) -> Iterator[Batch]:
        """Yield the batch of a chunk, after creating the tables and columns it needs.

        A chunk that cannot be converted as a whole is split, and yields several. A single text that cannot be converted
        becomes a reject. Raises LoaderError if the database fails.
        """
        waiting: list[ParsedChunk | Batch | Unconverted | Chunk] = [prepared]
        trials = 0
        while waiting:
            result = self._convert(waiting.pop())
            trials += 1
            if isinstance(result, Batch):
                yield result
                del result  # frees its memory before the next one is made
            elif len(result.chunk.texts) <= 1 or trials > MAX_TRIALS:
                yield result.rejects()
            else:
                waiting += reversed(list(result.chunk.split(result.parts)))

    def _convert(self, item: ParsedChunk | Batch | Unconverted | Chunk) -> Batch | Unconverted:
        prepared = self.prepare(item) if isinstance(item, Chunk) else item
        if isinstance(prepared, Batch | Unconverted):
            return prepared
        try:
            return self._assemble(prepared)
        except LoaderError:
            raise
        except Exception as exc:
            return _unconverted(prepared.lines.chunk, exc)

    def _assemble(self, prepared: ParsedChunk) -> Batch:
        batch = None
        try:
            batch = self._assemble_by_shapes(prepared)
        except ManyNamesFound:
            log.debug("the chunk has very many names, and is flattened")
        if batch is None:  # here, because the exception keeps the shapes in memory
            batch = assemble_flat(prepared.with_objects(frozenset()), self._catalog)
        self._free.put(prepared.session)
        return batch

    def _assemble_by_shapes(self, prepared: ParsedChunk) -> Batch:
        for _ in range(MAX_ATTEMPTS):
            try:
                batch, objects = assemble(prepared, self._catalog)
            except NestedObjectsFound as exc:
                prepared = prepared.with_nested(exc.paths)
            else:
                self._objects = OBJECTS | objects
                return batch
        self._objects = prepared.objects
        raise ManyNamesFound
