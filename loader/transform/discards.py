"""Find the values of loaded events that no column stores, with the reasons, as rows of `discarded_values`."""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from loader.duckdb import Session
from loader.events.fields import TIME_FIELDS, Path, pointer, property_name
from loader.quoting import quote_literal
from loader.transform import limits
from loader.transform.extract import UnfitValue
from loader.transform.json_pairs import dump_json, find_values, parse_json
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
                    and read_time_field(json_extract_string(line, '/{field}')) is null
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

    Raises NestedObjectsFound if a value is an object outside `known`, whose own values may have columns;
    ManyNamesFound if there are very many values.
    """
    groups = list(_grouped(without_column))
    limits.check_discards([[(one.shape.events, one.reasons) for one in group] for group in groups])
    return pa.concat_tables([SCHEMA.empty_table(), *(_read(session, group, known) for group in groups)])


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


def read_repetitions(session: Session, shapes: Sequence[Shape]) -> pa.Table:
    """Return rows of `discarded_values` for keys that an object repeats: only the first value of a key is loaded.

    Raises ManyNamesFound if there are very many.
    """
    if sum(shape.repeats for shape in shapes) > limits.MAX_REPEATED:
        raise limits.ManyNamesFound
    repeating = [(shape.number, shape.event_text) for shape in shapes if shape.repeats]
    if not repeating:
        return SCHEMA.empty_table()
    columns = [
        pa.array(values, kind) for values, kind in zip(zip(*repeating, strict=True), _WITHOUT_COLUMN, strict=False)
    ]
    session.register("repeating", pa.table(columns, ["shape", "event_text"]))
    found = session.rows(
        """
        select n, id, epoch_us(original_timestamp), event, line
        from envelope join events using (event_text)
        where verdict is null and (shape, event_text) in (select (shape, event_text) from repeating)
        order by event_text, shape
        """
    )
    rows = [
        (*event, property_name(path), dump_json(value), "repeated_key")
        for *event, line in found
        for path, value in find_values(parse_json(line)).repeated
    ]
    return pa.table([[row[i] for row in rows] for i in range(len(SCHEMA))], SCHEMA.names).cast(SCHEMA)
