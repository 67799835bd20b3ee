"""Load rejected events again. Those that load are marked as replayed; the others get their new reason."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial

import pyarrow as pa

from loader.config import Settings
from loader.events.outcomes import REJECT_REASONS, Reject
from loader.inputs.chunk import CHUNK_SIZE, Chunk
from loader.inputs.file import File
from loader.pipeline.ledger import Ledger, record_outcome
from loader.pipeline.options import Options
from loader.pipeline.rejected_events import RejectFilter
from loader.pipeline.result import LoadResult
from loader.pipeline.suppression import Suppression
from loader.pipeline.worker import read_times
from loader.pipeline.writer import Writer, encode_batch
from loader.postgres.connection import Warehouse
from loader.schema.catalog import Catalog
from loader.schema.source import open_warehouse
from loader.transform.transform import Transform

#: The name of a replay's input in the ledger. The lock on it allows one replay at a time.
REJECTS = File("rejects")
#: Rejects whose sizes one query reads.
PAGE_ROWS = 20_000

#: `too_long` rejects are pieces of a line, and `too_large` ones may be pieces of an event.
_OPEN = "replayed_at is null and reason not in ('too_long', 'too_large')"
_NEWEST = "select coalesce(max(rejected_id), 0) from rejected_events"
_SIZES = f"""
    select rejected_id, octet_length(raw) from rejected_events
    where rejected_id > %s and rejected_id <= %s and {_OPEN} and {{chosen}}
    order by rejected_id limit {PAGE_ROWS}
"""
_RAW = f"""
    select rejected_id, raw from rejected_events
    where rejected_id > %s and rejected_id <= %s and {_OPEN} and {{chosen}}
    order by rejected_id
"""
_MARK = "update rejected_events set replayed_at = now() where rejected_id = any(%s)"
_CHANGE_REASON = """
    update rejected_events as kept set reason = verdict.reason, detail = verdict.detail
    from unnest(%s::bigint[], %s::text[], %s::text[]) as verdict (rejected_id, reason, detail)
    where kept.rejected_id = verdict.rejected_id
"""
_ADD = """
    insert into rejected_events (load_id, uri, line, raw, reason, detail)
    select %s, whole.uri, whole.line, part.raw, part.reason, part.detail
    from unnest(%s::bigint[], %s::bytea[], %s::text[], %s::text[]) as part (rejected_id, raw, reason, detail)
    join rejected_events as whole on whole.rejected_id = part.rejected_id
"""


@dataclass(frozen=True, slots=True)
class ReplayChunk:
    """Rejects as the lines of a chunk, with the `rejected_id` of each."""

    chunk: Chunk
    ids: Sequence[int]

    def part(self, chunk: Chunk) -> "ReplayChunk":
        """Return the rejects of a part of the chunk."""
        first = chunk.first_line - self.chunk.first_line
        return ReplayChunk(chunk, self.ids[first : first + len(chunk.texts)])

    def save_rejects(self, warehouse: Warehouse, load_id: int, rejects: Sequence[Reject]) -> None:
        """Mark rejects that loaded as replayed, and set the new reasons of the others, in the current transaction.

        If a reject is the body of a batch call, its events that still cannot be loaded become rejects of their own.
        """
        still: list[tuple[int, bytes, str, str]] = []
        parts: list[tuple[int, bytes, str, str]] = []
        for reject in rejects:
            place = reject.line - self.chunk.first_line
            found = still if reject.raw == self.chunk.raw(place) else parts
            found.append((self.ids[place], reject.raw, reject.reason, reject.detail or REJECT_REASONS[reject.reason]))
        warehouse.fetch(_ADD, load_id, *([row[i] for row in parts] for i in range(4)))
        warehouse.fetch(_CHANGE_REASON, *([row[i] for row in still] for i in (0, 2, 3)))
        warehouse.fetch(_MARK, sorted(set(self.ids) - {row[0] for row in still}))


def replay_rejects(settings: Settings, choice: RejectFilter, options: Options) -> LoadResult:
    """Load the rejects that match a filter and can be loaded now.

    Rejects are marked in the transaction that writes their rows, so a replay that was killed continues when it is run
    again. Raises SchemaError if the database is not prepared, WarehouseError if it fails, TakenError if another replay
    is running.
    """
    with ExitStack() as stack:
        ledger = Ledger(stack.enter_context(open_warehouse(settings)))
        result = LoadResult(ledger.begin("replay"))
        with record_outcome(ledger, result):
            rows, ddl = (stack.enter_context(closing(Warehouse(settings))) for _ in range(2))
            catalog = Catalog(ddl, options.schema_limits)
            _replay(rows, Transform(catalog, read_times(rows, options)), choice, result)
            result.ddl = catalog.statements
            result.status = "ok" if result.counts["events_read"] else "empty"
    return result


def _replay(warehouse: Warehouse, transform: Transform, choice: RejectFilter, result: LoadResult) -> None:
    load_id = result.load_id or 0
    suppression = Suppression(warehouse)
    writer = Writer(warehouse, load_id, suppression)
    with Ledger(warehouse).open_file(load_id, REJECTS) as cursor:
        if cursor is None:
            return
        for replayed in _chunks(warehouse, choice):
            for batch in transform.finish(transform.prepare(replayed.chunk)):
                save_rejects = partial(replayed.part(batch.chunk).save_rejects, warehouse, load_id)
                written = writer.write(encode_batch(suppression.drop(batch)), REJECTS.uri, cursor, save_rejects)
                result.files = 1
                result.counts += written.counts
                result.tables.update({table: part.rows.num_rows for table, part in written.parts.items()})


def _chunks(warehouse: Warehouse, choice: RejectFilter) -> Iterator[ReplayChunk]:
    """Yield the rejects that match a filter and exist at the start, about CHUNK_SIZE bytes at a time."""
    chosen, values = choice.condition
    with warehouse.transaction():
        ((newest,),) = warehouse.fetch(_NEWEST)
    after, line, end = 0, 1, 0
    while True:
        with warehouse.transaction():
            sizes = warehouse.fetch(_SIZES.format(chosen=chosen), after, newest, *values)
            if not sizes:
                return
            last = _last(sizes)
            rows = warehouse.fetch(_RAW.format(chosen=chosen), after, last, *values)
        texts = [raw for _, raw in rows]
        end += sum(map(len, texts))
        yield ReplayChunk(
            Chunk(pa.array(texts, pa.binary()), line, line + len(rows), end), [number for number, _ in rows]
        )
        after, line = last, line + len(rows)


def _last(sizes: Sequence[tuple[int, int]]) -> int:
    """Return the number of the last reject of a chunk, given rejects with their sizes in bytes.

    >>> _last([(1, 5), (2, CHUNK_SIZE), (3, 5)])
    2
    """
    total = 0
    for number, size in sizes:
        total += size
        if total > CHUNK_SIZE:
            return number
    return sizes[-1][0]
