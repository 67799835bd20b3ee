"""Transform: a chunk of raw lines → one Arrow table per warehouse table, rejects, discards, counts."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from loader.batch import Batch, Part
from loader.catalog import Catalog
from loader.chunks import Chunk
from loader.discards import Picked, read_discards, read_repetitions, unread_times
from loader.envelope import MARK_REPETITIONS, create_envelope
from loader.errors import LoaderError
from loader.extract import ENVELOPE, extraction
from loader.layout import Layout, Planner
from loader.lines import Lines, decode, expand, is_suspicious, screen
from loader.rejects import Reject, stored_as
from loader.scratch import MalformedError, Scratch
from loader.shape import CONTEXT, PROPERTIES, Path
from loader.survey import (
    DeeperError,
    Shape,
    find_objects,
    mark_wrong_kinds,
    name_tables,
    object_pointers,
    read_shapes,
    set_aside,
)
from loader.tables import TRACKS
from loader.values import quote

#: Objects that are looked into at first; others are found as they come.
OBJECTS = frozenset({(CONTEXT,), (PROPERTIES,), (CONTEXT, "traits"), (CONTEXT, "library")})
#: Verdicts that are no rejects, and their counts.
COUNTED = {"ignored": "events_ignored", "duplicate": "events_duplicate"}


class Transform:
    """Makes batches of chunks; what it learns of their objects serves the next one."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._objects: set[Path] = set(OBJECTS)
        self._scratch = Scratch()

    def interrupt(self) -> None:
        """End what another thread is doing with it."""
        self._scratch.interrupt()

    def transform(self, chunk: Chunk) -> Batch:
        """Return what a chunk becomes; the tables and columns it needs are made."""
        if chunk.overlong:
            reject = Reject(chunk.first_line, chunk.raw(0), "too_long")
            return Batch(chunk, rejects=[reject], others={"events_read": 1})
        lines = self._prepare(chunk)
        while True:
            try:
                return self._batch(lines)
            except DeeperError as exc:
                self._objects |= exc.paths
                self._create_envelope(lines)

    def _prepare(self, chunk: Chunk) -> Lines:
        """Make the envelope, in the hope that every line is JSON."""
        lines = decode(chunk)
        if is_suspicious(lines):
            lines = screen(lines, self._scratch)
        try:
            self._create_envelope(lines)
        except MalformedError:
            lines = screen(lines, self._scratch)
            self._create_envelope(lines)
        if self._exists("verdict = 'no_type' and json_type(line, '/batch') = 'ARRAY'"):
            lines = expand(lines, self._scratch)
            self._create_envelope(lines)
        return lines

    def _create_envelope(self, lines: Lines) -> None:
        self._scratch.register("lines", lines.table)
        self._scratch.execute(create_envelope(object_pointers(self._objects)))

    def _exists(self, condition: str) -> bool:
        return bool(self._scratch.row(f"select exists (select 1 from envelope where {condition})")[0])

    def _batch(self, lines: Lines) -> Batch:
        """Return the batch of the envelope.

        Raises DeeperError where it has to be made again with the keys of more objects.
        """
        shapes = read_shapes(self._scratch, self._objects)
        if mark_wrong_kinds(self._scratch, shapes):
            shapes = read_shapes(self._scratch, self._objects)
        tables, failures = self._name_tables({shape.event_text for shape in shapes})
        if self._exists("verdict is null having count(*) > count(distinct {'t': original_timestamp, 'id': id})"):
            self._scratch.execute(MARK_REPETITIONS)
        by_table: dict[str, list[Shape]] = {}
        for shape in shapes:
            if table := tables.get(shape.event_text):
                by_table.setdefault(table, []).append(shape)
        parts, discards = self._extract(by_table)
        rejects, others = self._judge(lines, failures)
        self._objects = {*OBJECTS, *(path for shape in shapes for path in shape.keys if path)}
        return Batch(lines.chunk, lines, parts, rejects, discards, others)

    def _name_tables(self, events: Iterable[str]) -> tuple[dict[str, str], dict[str, str]]:
        """Return the table of each name of an event, and why some have none."""
        tables, failures = {}, {}
        for event in sorted(events):
            try:
                table, verdict = self._catalog.table(event), "nameless_event"
            except LoaderError as exc:
                table, verdict, failures[event] = None, "no_table", str(exc)
            if table is None:
                set_aside(self._scratch, event, verdict)
            else:
                tables[event] = table
        name_tables(self._scratch, tables)
        return tables, failures

    def _extract(self, by_table: Mapping[str, Sequence[Shape]]) -> tuple[dict[str, Part], Part]:
        """Return the rows of each table, and the values that have no place in them."""
        planner = Planner(self._scratch, self._catalog, self._objects)
        shapes = [shape for of_table in by_table.values() for shape in of_table]
        planner.plan_context(shapes)
        parts: dict[str, Part] = {}
        picked = unread_times() if self._exists("has_unread_time") else []
        for table, of_table in by_table.items():
            layout = planner.plan(table, of_table)
            parts[table], left = self._read_rows(table, layout)
            picked += [*layout.discarded, *left]
        if parts:
            parts[TRACKS] = self._tracks(parts.values())
        discards = pa.concat_tables(
            [
                read_discards(self._scratch, picked, self._objects),
                read_repetitions(self._scratch, [shape for shape in shapes if shape.repeats]),
            ]
        )
        return parts, Part(discards["n"], discards.drop_columns("n"))

    def _read_rows(self, table: str, layout: Layout) -> tuple[Part, list[Picked]]:
        """Return a table's rows, and the values that did not fit into them.

        Raises DeeperError where a value is an object.
        """
        query = extraction(table, layout.columns, layout.mixed)
        found = self._scratch.arrow(query.sql)
        end = len(query.names) + 1
        rows, left = found.columns[1:end], list(zip(found.columns[end:], query.leftovers, strict=True))
        outputs = [*zip(rows[len(ENVELOPE) :], (column.paths for column in layout.columns), strict=True)]
        outputs += [(values, [leftover.path]) for values, leftover in left]
        doubtful = [path for values, paths in outputs if _may_hold_objects(values) for path in paths]
        find_objects(self._scratch, f"event = {quote(table)}", doubtful, self._objects)
        picked = [
            Picked(_numbered(found["n"].filter(values.is_valid())), {leftover.path: leftover.reason})
            for values, leftover in left
            if values.null_count < len(values)
        ]
        return Part(found["n"], pa.table(rows, query.names)), picked

    def _tracks(self, parts: Iterable[Part]) -> Part:
        """Return the rows of `tracks`: those of all tables without their properties."""
        own = set(self._catalog.columns(TRACKS))
        shared = [
            part.rows.select([name for name in part.rows.column_names if name in own and _is_shared(name)])
            for part in parts
        ]
        numbers = pa.chunked_array([chunk for part in parts for chunk in part.numbers.chunks], pa.int32())
        return Part(numbers, pa.concat_tables(shared, promote_options="default"))

    def _judge(self, lines: Lines, failures: Mapping[str, str]) -> tuple[list[Reject], Counter[str]]:
        """Return the rejects, and how many events there are of what is not loaded."""
        found = self._scratch.rows(
            "select n, verdict, conflict, event_text from envelope where verdict is not null order by n"
        )
        counts = Counter(COUNTED[verdict] for _, verdict, _, _ in found if verdict in COUNTED)
        rejects = [
            lines.reject(n, verdict, (conflict and stored_as(conflict)) or failures.get(event_text))
            for n, verdict, conflict, event_text in found
            if verdict not in COUNTED
        ]
        counts["events_read"] = lines.table.num_rows + len(lines.rejects)
        counts["values_repaired"] = lines.repaired
        return [*lines.rejects, *rejects], counts


def _numbered(numbers: pa.ChunkedArray) -> str:
    return f"n in ({', '.join(map(str, numbers.to_pylist()))})"


def _may_hold_objects(values: pa.ChunkedArray) -> bool:
    return pa.types.is_string(values.type) and bool(pc.any(pc.starts_with(values, "{")).as_py())


def _is_shared(name: str) -> bool:
    return name in ENVELOPE or name.startswith(f"{CONTEXT}_")
