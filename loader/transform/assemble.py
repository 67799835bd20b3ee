"""Convert a parsed chunk into a batch: rows by table, rejects, discarded values and counts."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from loader.errors import LoaderError, OutageError
from loader.events.fields import COLUMN_FIELDS, Path
from loader.events.outcomes import Reject
from loader.quoting import quote_literal
from loader.schema.catalog import Catalog
from loader.schema.event_tables import TRACKS
from loader.transform.batch import REPEATED, Batch, Part, Repeated, mark_duplicates, merge_parts
from loader.transform.columns import Layout, Planner
from loader.transform.discards import discard_unfit, read_repetitions, read_unread_times, read_without_column
from loader.transform.extract import Column, Query, extraction_queries
from loader.transform.json_pairs import LONG_NUMBER
from loader.transform.limits import check_cells, check_rows
from loader.transform.parse import ParsedChunk
from loader.transform.shapes import (
    NestedObjectsFound,
    Shape,
    find_objects,
    mark_rejected,
    mark_wrong_kinds,
    name_tables,
    read_shapes,
)

#: The verdict on calls that are not loaded and not rejected.
IGNORED = "ignored"


def assemble(prepared: ParsedChunk, catalog: Catalog) -> tuple[Batch, frozenset[Path]]:
    """Return the batch of a chunk, and the paths of the objects in its events; create missing tables and columns.

    Raises NestedObjectsFound if the envelope must be created again with the keys of more objects, ManyNamesFound if the
    chunk has to be flattened, TooLargeError if it has to be split.
    """
    assembly = Assembly(prepared, catalog)
    shapes = read_shapes(prepared.session, prepared.objects)
    if mark_wrong_kinds(prepared.session, shapes):
        shapes = read_shapes(prepared.session, prepared.objects)
    tables, failures = assembly.name_tables({shape.event_text for shape in shapes})
    repeated = mark_duplicates(prepared.session, tables)
    by_table: dict[str, list[Shape]] = {}
    for shape in shapes:
        if table := tables.get(shape.event_text):
            by_table.setdefault(table, []).append(shape)
    parts, discards = assembly.extract(by_table)
    batch = assembly.batch(parts, discards, repeated, failures)
    return batch, frozenset(path for shape in shapes for path in shape.keys if path)


@dataclass(frozen=True, slots=True)
class Assembly:
    """The steps of `assemble`."""

    prepared: ParsedChunk
    catalog: Catalog

    def name_tables(self, events: Iterable[str]) -> tuple[dict[str, str], dict[str, str]]:
        """Return the table of each event name, and the errors for those whose table could not be created."""
        tables, failures, verdicts = {}, {}, {}
        for event in sorted(events):
            try:
                table, verdict = self.catalog.ensure_table(event), "nameless_event"
            except OutageError:
                raise
            except LoaderError as exc:
                table, verdict, failures[event] = None, "no_table", str(exc)
            if table is None:
                verdicts[event] = verdict
            else:
                tables[event] = table
        mark_rejected(self.prepared.session, verdicts)
        name_tables(self.prepared.session, tables)
        return tables, failures

    def extract(self, by_table: Mapping[str, Sequence[Shape]]) -> tuple[dict[str, Part], Part]:
        """Return the rows of each table, and the discarded values."""
        planner = Planner(self.prepared.session, self.catalog, self.prepared.objects)
        shapes = [shape for of_table in by_table.values() for shape in of_table]
        shared = planner.plan_context(shapes)
        layouts = self._plan(planner, by_table)
        mixed = {path for layout in layouts.values() for path in layout.mixed}
        without_column = [values for layout in layouts.values() for values in layout.discarded]
        discards = [
            read_without_column(self.prepared.session, without_column, self.prepared.objects),
            read_repetitions(self.prepared.session, shapes),
            *self.read_unread_times(),
        ]
        rows = {table: sum(shape.events for shape in of_table) for table, of_table in by_table.items()}
        columns = {table: layout.columns for table, layout in layouts.items()}
        parts, unfit = self.read_rows(columns, shared, mixed, rows)
        return parts, merge_discards([*discards, *unfit])

    def _plan(self, planner: Planner, by_table: Mapping[str, Sequence[Shape]]) -> dict[str, Layout]:
        """Return the layouts of all tables.

        Raises NestedObjectsFound with the objects of all tables: the envelope is created again for each time.
        """
        layouts: dict[str, Layout] = {}
        nested: set[Path] = set()
        for table, shapes in by_table.items():
            try:
                layouts[table] = planner.plan(table, shapes)
            except NestedObjectsFound as exc:
                nested |= exc.paths
        if nested:
            raise NestedObjectsFound(nested)
        return layouts

    def read_unread_times(self) -> list[pa.Table]:
        """Return the discarded times, in no or one table."""
        session = self.prepared.session
        return [read_unread_times(session)] if session.exists("has_unread_time") else []

    def read_rows(
        self,
        columns: Mapping[str, Sequence[Column]],
        shared: Sequence[Column],
        mixed: set[Path],
        rows: Mapping[str, int],
    ) -> tuple[dict[str, Part], list[pa.Table]]:
        """Return the rows of each table, and the values that did not fit into their columns.

        `rows` are the numbers of events by table. Raises NestedObjectsFound if a value is an object, TooLargeError.
        """
        check_cells(sum(rows[table] * (len(own) + len(shared)) for table, own in columns.items()))
        parts: dict[str, Part] = {}
        tracks: list[Part] = []
        discards: list[pa.Table] = []
        for tables, query in extraction_queries(columns, shared, mixed):
            found = self.prepared.session.arrow(query.sql)
            tracks.append(_rows(query, found, shared))
            for table in tables:
                parts[table], unfit = self._take_rows(table, columns[table], query, found)
                discards += unfit
        if tracks:
            parts[TRACKS] = merge_parts(tracks)
        check_rows(sum(len(rows) for rows in discards))
        return parts, discards

    def _take_rows(
        self, table: str, columns: Sequence[Column], query: Query, found: pa.Table
    ) -> tuple[Part, list[pa.Table]]:
        """Return a table's rows from the result of a query, and the values that did not fit into their columns.

        Raises NestedObjectsFound if a value is an object.
        """
        own, unfit_texts = set(columns), found.columns[1 + len(COLUMN_FIELDS) + len(query.columns) :]
        mask = pc.equal(found["event"], table)
        is_whole = pc.all(mask).as_py()
        part = _rows(query, found, columns)
        part = part if is_whole else part.filter(mask)
        unfit = [
            (value, texts if is_whole else pc.if_else(mask, texts, None))
            for value, texts in zip(query.leftovers, unfit_texts, strict=True)
            if value.column in own and texts.null_count < len(found)
        ]
        candidates = [path for column in columns if _may_hold_objects(part.rows[column.name]) for path in column.paths]
        candidates += [value.path for value, texts in unfit if _may_hold_objects(texts)]
        find_objects(self.prepared.session, f"event = {quote_literal(table)}", candidates, self.prepared.objects)
        return part, [discard_unfit(found, texts, value) for value, texts in unfit]

    def batch(
        self, parts: Mapping[str, Part], discards: Part, repeated: Sequence[Repeated], failures: Mapping[str, str]
    ) -> Batch:
        """Return the batch; `failures` are the errors for events whose table could not be created."""
        rejects, others = self._judge(failures)
        suspects = self.prepared.session.rows("select n from envelope where is_clock_suspect and verdict is null")
        return Batch(
            self.prepared.lines.chunk,
            self.prepared.lines,
            parts,
            rejects,
            repeated,
            discards,
            pa.array([n for (n,) in suspects], pa.int32()),
            others,
        )

    def _judge(self, failures: Mapping[str, str]) -> tuple[list[Reject], dict[str, int]]:
        """Return the rejects, and the counts of events read, events ignored and characters repaired."""
        lines = self.prepared.lines
        found = self.prepared.session.rows(
            f"select n, verdict, event_text from envelope where verdict <> '{REPEATED}' order by n"
        )
        rejects = [
            lines.reject(n, verdict, failures.get(event_text)) for n, verdict, event_text in found if verdict != IGNORED
        ]
        others = {
            "events_read": lines.table.num_rows + len(lines.rejects),
            "events_ignored": len(found) - len(rejects),
            "values_repaired": lines.repaired,
        }
        return [*lines.rejects, *rejects], others


def merge_discards(discards: Sequence[pa.Table]) -> Part:
    """Return rows of `discarded_values`, with long numbers as such."""
    merged = pa.concat_tables(discards)
    if len(merged):
        values = pc.replace_substring_regex(merged["value"], f'"{LONG_NUMBER}([^"]*)"', r"\1")
        merged = merged.set_column(merged.schema.get_field_index("value"), "value", values)
    return Part(merged["n"], merged.drop_columns("n"))


def _may_hold_objects(values: pa.ChunkedArray) -> bool:
    return pa.types.is_string(values.type) and bool(pc.any(pc.starts_with(values, "{")).as_py())


def _rows(query: Query, found: pa.Table, columns: Sequence[Column]) -> Part:
    """Return the result of a query as rows with the common columns and these columns of their own."""
    first = len(COLUMN_FIELDS) + 1
    places = {column: place for place, column in enumerate(query.columns, first)}
    indexes = [*range(1, first), *(places[column] for column in columns)]
    rows = pa.table([found.column(i) for i in indexes], [*COLUMN_FIELDS, *(column.name for column in columns)])
    return Part(found.column(0), rows)
