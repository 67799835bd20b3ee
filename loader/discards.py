"""Discards: values of loaded events that have no place in a column, each with the reason."""

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from loader.envelope import TIMES
from loader.extract import Leftover
from loader.repetitions import find_repetitions
from loader.scratch import Scratch
from loader.shape import Path, original, pointer
from loader.survey import Shape, find_objects
from loader.values import quote, timestamp

SCHEMA = pa.schema(
    [
        ("n", pa.int32()),
        ("event_id", pa.string()),
        ("original_timestamp", pa.timestamp("us", "UTC")),
        ("table_name", pa.string()),
        ("property", pa.string()),
        ("value", pa.string()),
        ("reason", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True)
class Picked:
    """Values to discard: of the events that an SQL condition names, those at these paths, with the reasons."""

    condition: str
    reasons: Mapping[Path, str]


def unread_times() -> list[Picked]:
    """Return what to discard of times that cannot be read."""
    text = "json_extract_string(line, '/{}')"
    return [
        Picked(
            f"has_unread_time and {text.format(field)} is not null and ({timestamp(text.format(field))}) is null",
            {(field,): "unread_time"},
        )
        for field in TIMES
    ]


def left_over(found: pa.Table, values: pa.ChunkedArray, leftover: Leftover) -> pa.Table:
    """Return rows of `discarded_values` for the values that a column did not take, null where it took them."""
    mask = values.is_valid()
    events = found.select(["n", "id", "original_timestamp", "event"]).filter(mask).columns
    told = [pa.repeat(text, len(events[0])) for text in (original(leftover.path), leftover.reason)]
    return pa.table([*events, told[0], values.filter(mask), told[1]], SCHEMA.names).cast(SCHEMA)


def read_discards(scratch: Scratch, picks: Iterable[Picked], known: Set[Path]) -> pa.Table:
    """Return rows of `discarded_values` with the number of the event; null and empty objects are no values.

    Raises DeeperError where a value is an object that has not been looked into, so that its own values have a place.
    """
    return pa.concat_tables([SCHEMA.empty_table(), *(_read(scratch, picked, known) for picked in picks)])


def _read(scratch: Scratch, picked: Picked, known: Set[Path]) -> pa.Table:
    pointers = ", ".join(quote(pointer(path)) for path in picked.reasons)
    properties = ", ".join(quote(original(path)) for path in picked.reasons)
    reasons = ", ".join(quote(reason) for reason in picked.reasons.values())
    found = scratch.arrow(
        f"""
        with found as (
            select n, id, original_timestamp, event, unnest([{properties}]) as property,
                unnest(json_extract(line, [{pointers}])) as value, unnest([{reasons}]) as reason
            from envelope join events using (event_text)
            where verdict is null and {picked.condition}
        )
        select n, id as event_id, original_timestamp, event as table_name, property, value::varchar as value, reason
        from found
        where value::varchar not in ('null', '{{}}')
        """
    )
    if pc.any(pc.starts_with(found["value"], "{")).as_py():
        nested = [path for path in picked.reasons if len(path) > 1]
        find_objects(scratch, picked.condition, nested, known)
    return found.cast(SCHEMA)


def read_repetitions(scratch: Scratch, shapes: Iterable[Shape]) -> pa.Table:
    """Return rows of `discarded_values` for the names that come twice in an object: the first one counts."""
    rows: list[tuple[Any, ...]] = []
    for shape in shapes:
        found = scratch.rows(
            f"""
            select n, id, epoch_us(original_timestamp), event, line
            from envelope join events using (event_text)
            where verdict is null and {shape.condition}
            """
        )
        rows += [
            (*event, original(path), value, "repeated_key")
            for *event, line in found
            for path, value in find_repetitions(line)
        ]
    columns: list[list[Any]] = [[row[i] for row in rows] for i in range(len(SCHEMA))]
    return pa.table(columns, SCHEMA.names).cast(SCHEMA)
