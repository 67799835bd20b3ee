"""Discard the excess values of events that do not fit into PostgreSQL's page of 8 kB."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from loader.duckdb import Session
from loader.events.fields import COLUMN_FIELDS, property_name
from loader.events.identifiers import is_context
from loader.schema.event_tables import TRACKS
from loader.transform.assemble import merge_discards
from loader.transform.batch import Batch, Part
from loader.transform.discards import SCHEMA
from loader.transform.flatten import read_columns
from loader.transform.json_pairs import dump_json

#: Property values that fit into any row: a text of up to 24 bytes is stored in the row, a longer one can be moved out.
MAX_VALUES = 300


def limit_values(batch: Batch, numbers: Iterable[int]) -> tuple[Batch, list[int]]:
    """Limit the given events to MAX_VALUES property values; return the batch and the numbers of those that had more.

    The excess values are discarded as `no_room`.
    """
    limited: list[int] = []
    wanted = pa.array(list(numbers), pa.int32())
    for table, part in batch.parts.items():
        if table != TRACKS and len(wanted):
            places = np.flatnonzero(pc.is_in(part.numbers, wanted))
            excess = {name: rows for name, rows in _excess_values(part.rows, places).items() if rows.any()}
            if excess:
                batch = _without(batch, table, places, excess)
                limited += pc.take(part.numbers, pa.array(places[np.any(list(excess.values()), axis=0)])).to_pylist()
    return batch, limited


#: For each of some rows, whether it has a value.
_Flags = npt.NDArray[np.bool_]


def _excess_values(rows: pa.Table, places: npt.NDArray[np.intp]) -> dict[str, _Flags]:
    """Return by property column which of some rows have a value there that comes after the first MAX_VALUES."""
    names = [name for name in rows.column_names if name not in COLUMN_FIELDS and not is_context(name)]
    counts, excess = np.zeros(len(places), np.int64), {}
    for name in names:
        is_valid = rows[name].is_valid().to_numpy()[places]
        counts += is_valid
        excess[name] = is_valid & (counts > MAX_VALUES)
    return excess


def _without(batch: Batch, table: str, places: npt.NDArray[np.intp], excess: dict[str, _Flags]) -> Batch:
    """Return a batch in which values of some rows are discarded."""
    part = batch.parts[table]
    columns = dict(zip(part.rows.column_names, part.rows.columns, strict=True))
    for name, flags in excess.items():
        kept = np.ones(part.rows.num_rows, np.bool_)
        kept[places[flags]] = False
        columns[name] = pc.if_else(pa.array(kept), columns[name], None)
    discards = _discards(batch, table, places, excess)
    if batch.discards:
        numbers = [*batch.discards.numbers.chunks, *discards.numbers.chunks]
        discards = Part(pa.chunked_array(numbers), pa.concat_tables([batch.discards.rows, discards.rows]))
    return replace(batch, parts={**batch.parts, table: Part(part.numbers, pa.table(columns))}, discards=discards)


def _discards(batch: Batch, table: str, places: npt.NDArray[np.intp], excess: dict[str, _Flags]) -> Part:
    """Return rows of `discarded_values` for the excess values."""
    part, lines = batch.parts[table], batch.lines
    rows: list[tuple[Any, ...]] = []
    for i, place in enumerate(places.tolist()):
        n = part.numbers[place].as_py()
        key = n, part.rows["id"][place].as_py(), part.rows["original_timestamp"][place].as_py(), table
        names = [name for name, flags in excess.items() if flags[i]]
        line = lines.table["line"][n].as_py() if lines else "{}"
        rows += [(*key, name, value, "no_room") for name, value in _values(line, names)]
    discarded = pa.table([list(column) for column in zip(*rows, strict=True)], schema=SCHEMA)
    session = Session()
    session.register("discarded", discarded)
    discarded = session.arrow("select * replace (json(value)::varchar as value) from discarded").cast(SCHEMA)
    return merge_discards([discarded])


def _values(line: str, columns: Sequence[str]) -> list[tuple[str, str]]:
    """Return the property of an event that fills each column, and its value as JSON."""
    filled = read_columns(line)
    return [(property_name(filled[name][0]), dump_json(filled[name][1])) for name in columns]
