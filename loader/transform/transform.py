"""Convert chunks into batches in two steps, which two threads can run for successive chunks."""

from queue import Empty, SimpleQueue

from loader.duckdb import Session
from loader.events.fields import CONTEXT, PROPERTIES, Path
from loader.events.outcomes import Reject
from loader.inputs.chunk import Chunk
from loader.schema.catalog import Catalog
from loader.transform.assemble import assemble
from loader.transform.batch import Batch
from loader.transform.parse import ParsedChunk, parse_chunk
from loader.transform.shapes import NestedObjectsFound

#: Objects whose values have columns from the start. Others are found in the events.
OBJECTS: frozenset[Path] = frozenset({(CONTEXT,), (PROPERTIES,), (CONTEXT, "traits"), (CONTEXT, "library")})


class Transform:
    """Converts chunks into batches: `prepare` parses the lines, `finish` adds tables and columns, in order of chunks.

    The objects found in one chunk are the starting point for the next.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._objects = OBJECTS
        self._free = SimpleQueue[Session]()

    def prepare(self, chunk: Chunk) -> ParsedChunk | Batch:
        """Return a chunk parsed for `finish`; a piece of an overlong line becomes a batch with one reject."""
        if chunk.overlong:
            reject = Reject(chunk.first_line, chunk.raw(0), "too_long")
            return Batch(chunk, rejects=[reject], others={"events_read": 1})
        try:
            session = self._free.get_nowait()
        except Empty:
            session = Session()
        return parse_chunk(chunk, session, self._objects)

    def finish(self, prepared: ParsedChunk | Batch) -> Batch:
        """Return the batch of a chunk, after creating the tables and columns it needs."""
        if isinstance(prepared, Batch):
            return prepared
        while True:
            try:
                batch, objects = assemble(prepared, self._catalog)
            except NestedObjectsFound as exc:
                prepared = prepared.with_nested(exc.paths)
            else:
                self._objects = OBJECTS | objects
                self._free.put(prepared.session)
                return batch
