"""Discard the excess values of events that do not fit into PostgreSQL's page of 8 kB."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from loader.duckdb import Session
from loader.events.fields import COLUMN_FIELDS, PROPERTIES, Path, pointer, property_name
from loader.events.identifiers import is_context
from loader.quoting import quote_literal
from loader.schema.event_tables import TRACKS
from loader.transform.batch import Batch, Part
from loader.transform.columns import assign_columns
from loader.transform.discards import SCHEMA

#: Property values that fit into any row: a text of up to 24 bytes is stored in the row, a longer one can be moved out.
MAX_VALUES = 300


def limit_values(batch: Batch, numbers: Iterable[int]) -> tuple[Batch, list[int]]:
    """Limit the given events to MAX_VALUES property values; return the batch and the numbers of those that had more.

    The excess values are discarded as `no_room`.
    """
    limited: list[int] = []
    for n in numbers:
        for table, part in batch.parts.items():
            place = pc.index(part.numbers, pa.scalar(n, pa.int32())).as_py()
            excess = _excess_columns(part.rows, place) if table != TRACKS and place >= 0 else []
            if excess:
                batch = _without(batch, table, place, excess)
                limited.append(n)
                break
    return batch, limited


def _excess_columns(rows: pa.Table, place: int) -> list[str]:
    """Return the property columns with values of a row after the first MAX_VALUES."""
    names = [name for name in rows.column_names if name not in COLUMN_FIELDS and not is_context(name)]
    return [name for name in names if rows[name][place].is_valid][MAX_VALUES:]


def _without(batch: Batch, table: str, place: int, excess: Sequence[str]) -> Batch:
    """Return a batch in which a row's values of some columns are discarded."""
    part = batch.parts[table]
    others = pa.array([i != place for i in range(part.rows.num_rows)])
    rows = part.rows
    for name in excess:
        rows = rows.set_column(rows.column_names.index(name), name, pc.if_else(others, rows[name], None))
    discards = _discards(batch, table, place, excess)
    if batch.discards:
        numbers = [*batch.discards.numbers.chunks, *discards.numbers.chunks]
        discards = Part(pa.chunked_array(numbers), pa.concat_tables([batch.discards.rows, discards.rows]))
    return replace(batch, parts={**batch.parts, table: Part(part.numbers, rows)}, discards=discards)


def _discards(batch: Batch, table: str, place: int, excess: Sequence[str]) -> Part:
    part = batch.parts[table]
    n = part.numbers[place].as_py()
    id_, time = part.rows["id"][place].as_py(), part.rows["original_timestamp"][place].as_py()
    values = _values(batch.lines.table["line"][n].as_py() if batch.lines else "{}", excess)
    rows = [(n, id_, time, table, name, value, "no_room") for name, value in values]
    discarded = pa.table([list(column) for column in zip(*rows, strict=True)], schema=SCHEMA)
    return Part(discarded["n"], discarded.drop_columns("n"))


def _values(line: str, columns: Sequence[str]) -> list[tuple[str, str]]:
    """Return the property of an event that fills each column, and its value as JSON."""
    paths = assign_columns(_leaves((PROPERTIES,), json.loads(line)[PROPERTIES])).paths
    session = Session()
    session.register("event", pa.table({"line": [line]}))
    wanted = [path for name in columns for path in paths[name]]
    pointers = ", ".join(quote_literal(pointer(path)) for path in wanted)
    ((texts,),) = session.rows(f"select json_extract(line, [{pointers}])::varchar[] from event")
    values = {path: text for path, text in zip(wanted, texts, strict=True) if text not in (None, "null", "{}")}
    firsts = (next(path for path in paths[name] if path in values) for name in columns)
    return [(property_name(path), values[path]) for path in firsts]


def _leaves(path: Path, value: Mapping[str, Any]) -> Iterator[Path]:
    for key, inside in value.items():
        if isinstance(inside, dict):
            yield from _leaves((*path, key), inside)
        else:
            yield (*path, key)
