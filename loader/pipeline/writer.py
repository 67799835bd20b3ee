"""Write a batch in one transaction: rows, rejects, discarded values, and the position in the ledger."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from loader.crash_points import crash_point
from loader.errors import ContentionError, OverfullError, RefusedError, WarehouseError
from loader.events.outcomes import Reject, describe_key_conflict
from loader.events.values import is_text
from loader.pipeline.ledger import FileCursor, Ledger
from loader.pipeline.rejected_events import reject_rows
from loader.pipeline.suppression import Suppression, drop_rejects
from loader.postgres.connection import Warehouse, operation
from loader.postgres.copy import array_literal, encode
from loader.schema.distribution import require_workers
from loader.schema.event_tables import TRACKS
from loader.schema.introspection import read_columns
from loader.transform.batch import Batch, Part, Repeated
from loader.transform.oversized_rows import limit_values

log = logging.getLogger(__name__)

#: Reject reasons that only the writer detects.
CONFLICT, REFUSED = "key_conflict", "refused_by_database"
#: Attempts to write a chunk when other loads cause conflicts.
ATTEMPTS = 10

#: Stores the rejects of a batch in the current transaction.
SaveRejects = Callable[[Sequence[Reject]], None]


@dataclass(frozen=True, slots=True)
class Encoded:
    """A batch with all its rows in binary COPY format, encoded before it is known which of them are new."""

    batch: Batch
    rows: Mapping[str, Sequence[bytes]]


def encode_batch(batch: Batch, before: Encoded | None = None) -> Encoded:
    """Encode a batch for binary COPY. Parts that are unchanged since `before` are not encoded again."""
    done = (
        {table: before.rows[table] for table, part in before.batch.parts.items() if part is batch.parts[table]}
        if before
        else {}
    )
    rows = {table: done.get(table) or encode(part.rows) for table, part in batch.parts.items()}
    return Encoded(batch, rows)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the database refuses a row. The exception would keep the rows of the attempt in memory."""

    message: str
    is_overfull: bool


class Writer:
    """Writes batches of one load; without a load it only determines which rows are new."""

    def __init__(self, warehouse: Warehouse, load_id: int | None, suppression: Suppression) -> None:
        self._warehouse, self._suppression = warehouse, suppression
        self._ledger = Ledger(warehouse)
        self._load_id = load_id
        #: The batch that was in flight when the connection was lost; it may have been committed.
        self._in_flight: Batch | None = None
        self._tracks = warehouse.qualified(TRACKS)

    def write(self, encoded: Encoded, uri: str, cursor: FileCursor, save_rejects: SaveRejects | None = None) -> Batch:
        """Write a batch and return the new part of it; without a load nothing is written.

        `save_rejects` stores the rejects in the transaction of the rows. By default they are added to
        `rejected_events`. Raises WarehouseError if the database fails; the transaction is then rolled back.
        """
        for _ in range(ATTEMPTS):
            try:
                return self._warehouse.retry(partial(self._write, encoded, uri, cursor, save_rejects))
            except ContentionError as exc:
                log.info("the chunk conflicts with another load and is retried: %s", exc)
                failure = exc
            except RefusedError:
                batch = self._warehouse.retry(partial(self._without_refused, encoded.batch))
                encoded = encode_batch(batch, encoded)
        raise failure

    def _write(self, encoded: Encoded, uri: str, cursor: FileCursor, save_rejects: SaveRejects | None) -> Batch:
        with self._warehouse.transaction():
            if self._in_flight and self._ledger.position(cursor) == encoded.batch.chunk.end:
                return self._in_flight
            self._suppression.lock()
            batch = self._without_stored(self._suppression.drop(encoded.batch))
            if self._load_id is not None:
                self._in_flight = batch
                self._copy_rows(encode_batch(batch, encoded))
                if batch.parts and (events := batch.parts[TRACKS].rows.num_rows):
                    self._ledger.record_chunk(self._load_id, events)
                crash_point("chunk.copied")
                if save_rejects:
                    save_rejects(batch.rejects)
                else:
                    self._copy_ops("rejected_events", reject_rows(batch.rejects, uri))
                if batch.discards:
                    self._copy_ops("discarded_values", batch.discards.rows)
                self._ledger.save_cursor(cursor, batch.chunk.end, batch.chunk.next_line - 1, batch.counts)
                crash_point("chunk.advanced")
        crash_point("chunk.committed")
        self._in_flight = None
        return batch

    def _without_stored(self, batch: Batch) -> Batch:
        """Remove events whose key is stored: duplicates, or conflicts, which become rejects."""
        if not batch.parts:
            return batch
        tracks = batch.parts[TRACKS]
        stored, owners = self._stored(tracks.rows)
        if not len(stored) and all(repeated.is_duplicate for repeated in batch.repeated):
            return batch
        repeated = pa.array([event.key[0] for event in batch.repeated], pa.string())
        rows = tracks.rows.take(stored)
        doubtful = pc.or_(pc.not_equal(rows["event"], owners), pc.is_in(rows["id"], repeated))
        events = _with_keys(tracks, stored.filter(doubtful))
        known = {event.key: owner for event, owner in zip(events, owners.filter(doubtful).to_pylist(), strict=True)}
        rejects = []
        for event in (*events, *batch.repeated):
            owner = known.get(event.key, event.first_event)
            if event.event != owner and batch.lines:
                rejects.append(batch.lines.reject(event.n, CONFLICT, describe_key_conflict(owner)))
        gone = tracks.numbers.take(stored).to_pylist() + [event.n for event in batch.repeated]
        rest = replace(batch.without(gone, rejects), repeated=())
        return drop_rejects(rest, self._suppression.list) if rejects else rest

    def _stored(self, tracks: pa.Table) -> tuple[pa.Array, pa.Array]:
        """Return the positions of rows whose key is stored, and the event names stored with these keys.

        Keys later than the newest stored one, which most of a nightly load has, are new without a lookup.
        """
        times, ids = tracks["original_timestamp"], tracks["id"]
        query = f"select max(original_timestamp) from {self._tracks} where original_timestamp <= %s"
        ((newest,),) = self._warehouse.fetch(query, pc.max(times).as_py())
        doubtful = pc.or_kleene(pc.is_null(times), pc.less_equal(times, pa.scalar(newest, times.type)))
        sought = np.flatnonzero(pc.fill_null(doubtful, False))
        found: list[tuple[int, str]] = []
        if len(sought):
            found = self._warehouse.fetch(
                operation("stored_keys").format(tracks=self._tracks),
                times=array_literal(times.take(sought).cast(pa.string())),
                ids=array_literal(ids.take(sought)),
            )
        places = sought[[place for place, _ in found]]
        return pa.array(places, pa.int64()), pa.array([event for _, event in found], pa.string())

    def _copy_rows(self, encoded: Encoded) -> None:
        self._check_types(encoded.batch)
        for table, part in encoded.batch.parts.items():
            if part.rows.num_rows:
                self._warehouse.copy(self._warehouse.schema, table, part.rows.column_names, encoded.rows[table])
        require_workers(self._warehouse)

    def _check_types(self, batch: Batch) -> None:
        """Lock the tables and compare column types with the encoded rows.

        Binary COPY would store mismatched types without an error. Raises WarehouseError if a column has been widened
        since the rows were encoded.
        """
        tables = [table for table, part in batch.parts.items() if part.rows.num_rows]
        if not tables:
            return
        names = ", ".join(map(self._warehouse.qualified, tables))
        self._warehouse.run(f"lock table {names} in row exclusive mode")
        columns = read_columns(self._warehouse, tables)
        for table in tables:
            for field in batch.parts[table].rows.schema:
                kind = columns[table].get(field.name, "")
                if is_text(kind) and not pa.types.is_string(field.type):
                    raise WarehouseError(
                        f"column {field.name!r} of {table!r} was changed to {kind} during the load; "
                        "run the load again, it continues where it ended"
                    )

    def _copy_ops(self, table: str, rows: pa.Table) -> None:
        if rows.num_rows:
            load_ids = pa.array([self._load_id] * rows.num_rows, pa.int64())
            rows = rows.append_column("load_id", load_ids)
            self._warehouse.copy(self._warehouse.ops, table, rows.column_names, encode(rows))

    def _without_refused(self, batch: Batch) -> Batch:
        """Turn rows that the database refuses, and their duplicates in the batch, into rejects.

        Rows that exceed the page size stay, with fewer values.
        """
        tracks = batch.parts[TRACKS]
        events = _with_keys(tracks, pa.array(range(tracks.rows.num_rows), pa.int64()))
        refusals = dict(self._refused(batch, [event.n for event in events]))
        batch, narrower = limit_values(batch, [n for n, refusal in refusals.items() if refusal.is_overfull])
        reasons = {n: refusal.message for n, refusal in refusals.items() if n not in narrower}
        keys = {event.key: reasons[event.n] for event in events if event.n in reasons}
        reasons |= {event.n: keys[event.key] for event in batch.repeated if event.key in keys}
        rejects = [batch.lines.reject(n, REFUSED, why) for n, why in reasons.items() if batch.lines]
        rest = [event for event in batch.repeated if event.n not in reasons]
        return replace(batch.without(list(reasons), rejects), repeated=rest)

    def _refused(self, batch: Batch, numbers: list[int]) -> list[tuple[int, Refusal]]:
        """Find the events that the database refuses, with the errors, by bisection."""
        selected = pa.array(numbers, pa.int32())
        tried = replace(batch, parts={table: part.only(selected) for table, part in batch.parts.items()})
        try:
            with self._warehouse.transaction(trial=True):
                self._copy_rows(encode_batch(self._without_stored(tried)))
        except RefusedError as exc:
            if len(numbers) == 1:
                return [(numbers[0], Refusal(str(exc), isinstance(exc, OverfullError)))]
            middle = len(numbers) // 2
            return self._refused(batch, numbers[:middle]) + self._refused(batch, numbers[middle:])
        return []


def _with_keys(part: Part, places: pa.Array) -> list[Repeated]:
    """Return the events in these rows of `tracks` with their keys, each as the first one of its key."""
    rows = part.rows.select(["id", "original_timestamp", "event"]).append_column("n", part.numbers).take(places)
    times = rows["original_timestamp"].cast(pa.int64())
    columns = (rows["n"], rows["id"], times, rows["event"])
    return [
        Repeated(n, (id_, time), event, event)
        for n, id_, time, event in zip(*(column.to_pylist() for column in columns), strict=True)
    ]
