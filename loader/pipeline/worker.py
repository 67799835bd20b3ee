"""Read files one after another, with connections and producer threads of its own."""

import logging
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import Protocol

import pyarrow as pa

from loader.config import Settings
from loader.crash_points import crash_point
from loader.errors import InputError, TakenError, UnfinishedError
from loader.events.times import TimeReading
from loader.inputs.chunk import CHUNK_SIZE
from loader.inputs.file import File
from loader.inputs.formats import read_contents
from loader.pipeline.ledger import FileCursor, Ledger
from loader.pipeline.options import Options
from loader.pipeline.producer import produce_ahead
from loader.pipeline.result import LoadResult
from loader.pipeline.suppression import Suppression
from loader.pipeline.writer import Encoded, Writer, encode_batch
from loader.postgres.connection import Warehouse
from loader.schema.catalog import Catalog
from loader.transform.batch import Batch
from loader.transform.parse import ParsedChunk
from loader.transform.transform import Transform, Unconverted
from loader.views.settings import read_max_clock_skew


class Progress(Protocol):
    """What a load reports its progress to."""

    def begin(self, uri: str) -> None:
        """Take note that the next file is being read, or with several processes, has been read."""

    def add(self, size: int, events: int) -> None:
        """Take note of bytes that have been read, as stored in the file, and the number of events in them."""


log = logging.getLogger(__name__)

# Arrow's default memory pool retains about 40 MB more after memory is freed, and is not faster here.
pa.set_memory_pool(pa.system_memory_pool())


def read_times(warehouse: Warehouse, options: Options) -> TimeReading:
    """Return how to read times: as the options say, with the source's setting for wrong clocks."""
    with warehouse.transaction():
        return replace(options.times, max_skew=read_max_clock_skew(warehouse))


class Worker:
    """Reads files for one load. A second connection adds tables and columns while the first is in a transaction."""

    def __init__(self, settings: Settings, options: Options, load_id: int | None) -> None:
        self._options = options
        self._load_id = load_id
        with ExitStack() as opened:
            warehouse, ddl = (
                opened.enter_context(closing(Warehouse(settings, purpose)))
                for purpose in (f"load {load_id}", f"load {load_id} columns")
            )
            self._ledger = Ledger(warehouse)
            if load_id is not None:
                self._ledger.join(load_id)
            self._suppression = warehouse.retry(lambda: Suppression(warehouse))
            self._writer = Writer(warehouse, load_id, self._suppression)
            self._catalog = Catalog(ddl, options.schema_limits, dry=options.dry_run)
            self._transform = Transform(self._catalog, warehouse.retry(lambda: read_times(warehouse, options)))
            self._open = opened.pop_all()

    def close(self) -> None:
        """Close the connections, which releases their locks."""
        self._open.close()

    def read(self, file: File, progress: Progress) -> LoadResult:
        """Load the rest of a file that has not been loaded; the result has the error if it cannot be read.

        Raises WarehouseError if the database fails.
        """
        result = LoadResult(self._load_id)
        log.info("reading %s", file.uri)
        progress.begin(file.uri)
        known = len(self._catalog.statements)
        try:
            if self._load_id is None:
                self._read(file, FileCursor(0, 0, 1), result, progress)
            else:
                with self._ledger.open_file(self._load_id, file, again=self._options.again) as cursor:
                    crash_point("file.opened")
                    if cursor:
                        self._read(file, cursor, result, progress)
                crash_point("file.closed")
        except UnfinishedError as exc:
            log.warning("%s", exc)
            result.warnings.append(str(exc))
        except InputError as exc:
            result.errors.append(str(exc))
        except TakenError as exc:
            log.warning("%s", exc)
            result.left += 1
        result.ddl = self._catalog.statements[known:]
        return result

    def _read(self, file: File, cursor: FileCursor, result: LoadResult, progress: Progress) -> None:
        result.files = 1
        consumed = 0
        with produce_ahead(self._prepare(file, cursor), self._finish) as finished:
            for batch, position in finished:
                written = self._writer.write(batch, file.uri, cursor)
                result.counts += written.counts
                result.tables.update({table: part.rows.num_rows for table, part in written.parts.items()})
                progress.add(position - consumed, written.counts["events_read"])
                consumed = position
                del batch, written  # frees their memory before the next one arrives

    def _prepare(self, file: File, cursor: FileCursor) -> Iterator[tuple[ParsedChunk | Batch | Unconverted, int]]:
        """Yield the parsed chunks of a file, each with the number of bytes read so far, as stored."""
        dialect = replace(self._options.table, zone=self._options.time_zone)
        for chunk, consumed in read_contents(file, cursor.position, cursor.line, CHUNK_SIZE, dialect):
            yield self._transform.prepare(chunk), consumed

    def _finish(
        self, prepared: Iterator[tuple[ParsedChunk | Batch | Unconverted, int]]
    ) -> Iterator[tuple[Encoded, int]]:
        for chunk, position in prepared:
            for batch in self._transform.finish(chunk):
                yield encode_batch(self._suppression.drop(batch)), position
                del batch  # frees its memory before the next one is made
