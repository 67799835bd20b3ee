"""Find the values of loaded events that no column stores, with the reasons, as rows of `discarded_values`."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from loader.duckdb import Session, timestamp_sql
from loader.events.fields import CONTEXT, MAX_DEPTH, PROPERTIES, TIME_FIELDS, Path, pointer, property_name
from loader.quoting import quote_literal
from loader.transform.extract import UnfitValue
from loader.transform.shapes import WIDTH, Shape, find_objects

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
#: Types of the relation `without_column`: shape, event name, index among the paths, property, reason.
_WITHOUT_COLUMN = (pa.uint64(), pa.string(), pa.int32(), pa.string(), pa.string())


@dataclass(frozen=True, slots=True)
class WithoutColumn:
    """The paths of a shape's values without a column, with the reasons."""

    shape: Shape
    reasons: Mapping[Path, str]


def read_unread_times(session: Session) -> pa.Table:
    """Return rows of `discarded_values` for invalid times."""
    text = "json_extract_string(line, '/{}')"
    return pa.concat_tables(
        [SCHEMA.empty_table()]
        + [
            session.arrow(
                f"""
                select n, id as event_id, original_timestamp, event as table_name, {quote_literal(field)} as property,
                    json_extract(line, '/{field}')::varchar as value, 'unread_time' as reason
                from envelope join events using (event_text)
                where verdict is null and has_unread_time
                    and json_extract(line, '/{field}')::varchar not in ('null', '{{}}')
                    and ({timestamp_sql(text.format(field))}) is null
                """
            ).cast(SCHEMA)
            for field in TIME_FIELDS
        ]
    )


def discard_unfit(found: pa.Table, values: pa.ChunkedArray, unfit: UnfitValue) -> pa.Table:
    """Return rows of `discarded_values` for values that did not fit into their column; nulls are skipped."""
    mask = values.is_valid()
    events = found.select(["n", "id", "original_timestamp", "event"]).filter(mask).columns
    names, reasons = (pa.repeat(text, len(events[0])) for text in (property_name(unfit.path), unfit.reason))
    return pa.table([*events, names, values.filter(mask), reasons], SCHEMA.names).cast(SCHEMA)


def read_without_column(session: Session, without_column: Iterable[WithoutColumn], known: Set[Path]) -> pa.Table:
    """Return rows of `discarded_values` for values without a column; null and empty objects do not count as values.

    Raises NestedObjectsFound if a value is an object outside `known`, whose own values may have columns.
    """
    return pa.concat_tables(
        [SCHEMA.empty_table(), *(_read(session, group, known) for group in _grouped(without_column))]
    )


def _grouped(without_column: Iterable[WithoutColumn]) -> Iterator[Sequence[WithoutColumn]]:
    """Yield groups of shapes to read in one query, which searches an event for at most about WIDTH paths."""
    group: list[WithoutColumn] = []
    paths: set[Path] = set()
    for one in without_column:
        if group and len(paths | one.reasons.keys()) > WIDTH:
            yield group
            group, paths = [], set()
        group.append(one)
        paths |= one.reasons.keys()
    if group:
        yield group


def _read(session: Session, without_column: Sequence[WithoutColumn], known: Set[Path]) -> pa.Table:
    paths = sorted({path for one in without_column for path in one.reasons})
    places = {path: place for place, path in enumerate(paths, 1)}
    rows = [
        (one.shape.number, one.shape.event_text, places[path], property_name(path), reason)
        for one in without_column
        for path, reason in one.reasons.items()
    ]
    names = ["shape", "event_text", "place", "property", "reason"]
    columns = [pa.array([row[i] for row in rows], kind) for i, kind in enumerate(_WITHOUT_COLUMN)]
    session.register("without_column", pa.table(columns, names))
    pointers = ", ".join(quote_literal(pointer(path)) for path in paths)
    condition = "(shape, event_text) in (select (shape, event_text) from without_column)"
    found = session.arrow(
        f"""
        with found as (
            select n, id, original_timestamp, event, shape, event_text, unnest({list(places.values())}) as place,
                unnest(json_extract(line, [{pointers}]))::varchar as value
            from envelope join events using (event_text)
            where verdict is null and {condition}
        )
        select n, id as event_id, original_timestamp, event as table_name, property, value, reason
        from found join without_column using (shape, event_text, place)
        where value not in ('null', '{{}}')
        order by n, place
        """
    )
    if pc.any(pc.starts_with(found["value"], "{")).as_py():
        find_objects(session, condition, [path for path in paths if len(path) > 1], known)
    return found.cast(SCHEMA)


def read_repetitions(session: Session, shapes: Iterable[Shape]) -> pa.Table:
    """Return rows of `discarded_values` for keys that an object repeats: only the first value of a key is loaded."""
    rows: list[tuple[Any, ...]] = []
    for shape in shapes:
        found = session.rows(
            f"""
            select n, id, epoch_us(original_timestamp), event, line
            from envelope join events using (event_text)
            where verdict is null and {shape.condition}
            """
        )
        rows += [
            (*event, property_name(path), value, "repeated_key")
            for *event, line in found
            for path, value in find_repetitions(line)
        ]
    columns: list[list[Any]] = [[row[i] for row in rows] for i in range(len(SCHEMA))]
    return pa.table(columns, SCHEMA.names).cast(SCHEMA)


class _Pairs(list[tuple[str, Any]]):
    """A JSON object, with repeated keys."""


class _Number(str):
    """A JSON number, as its text."""


def find_repetitions(line: str) -> list[tuple[Path, str]]:
    """Return the path and the JSON of each value whose key occurred before in the same object.

    >>> find_repetitions('{"context": {"a": 1, "b": {"c": 2, "c": [1e400]}, "a": null}}')
    [(('context', 'b', 'c'), '[1e400]'), (('context', 'a'), 'null')]
    """
    try:
        event = json.loads(
            line, object_pairs_hook=_Pairs, parse_int=_Number, parse_float=_Number, parse_constant=_Number
        )
        return list(_walk((), event))
    except RecursionError:
        return [((), line)]


def _walk(path: Path, pairs: _Pairs) -> Iterator[tuple[Path, str]]:
    """Yield repetitions, descending into those objects whose values have columns."""
    seen = set()
    for key, value in pairs:
        below = (*path, key)
        if key in seen:
            yield below, _dump(value)
        elif isinstance(value, _Pairs) and below[0] in {CONTEXT, PROPERTIES} and len(below) < MAX_DEPTH:
            yield from _walk(below, value)
        seen.add(key)


def _dump(value: Any) -> str:
    if isinstance(value, _Pairs):
        return "{" + ", ".join(f"{_dump(key)}: {_dump(inside)}" for key, inside in value) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_dump, value)) + "]"
    return str(value) if isinstance(value, _Number) else json.dumps(value, ensure_ascii=False)
