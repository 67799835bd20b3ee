"""Query the events of a chunk: their shapes, paths with objects, first values; and mark those to reject."""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

import pyarrow as pa

from loader.duckdb import Session, objects_only
from loader.events.fields import CONTEXT, MAX_DEPTH, PROPERTIES, Path, pointer
from loader.quoting import quote_literal
from loader.transform import limits

#: Maximum number of paths with objects. Others are stored as JSON text, which limits the work for a hostile chunk.
MAX_OBJECTS = 1000
#: Maximum number of paths per query.
WIDTH = 500


@dataclass(frozen=True, slots=True)
class Shape:
    """The keys of all non-empty objects, by path, in events with the same name and the same keys."""

    number: int
    event_text: str
    keys: Mapping[Path, Sequence[str]]
    #: Number of events.
    events: int = 1

    @property
    def repeats(self) -> int:
        """Number of keys in all events that their object has already."""
        return self.events * sum(len(keys) - len(set(keys)) for keys in self.keys.values())


class NestedObjectsFound(Exception):  # noqa: N818
    """Events have objects at `paths` whose keys are not part of the shapes yet."""

    def __init__(self, paths: set[Path]) -> None:
        self.paths = paths


def object_pointers(objects: Iterable[Path]) -> list[str]:
    """Return the JSON pointers of the event itself and of objects, as SQL literals."""
    return [quote_literal(pointer(path)) for path in ((), *sorted(objects))]


def read_shapes(session: Session, objects: Set[Path]) -> list[Shape]:
    """Return the shapes of the events to load.

    Raises ManyNamesFound if they have too many keys.
    """
    rows = session.rows(
        f"""
        with keyed as (
            select shape, event_text, count(*) as events, any_value(line) as line from envelope
            where verdict is null group by shape, event_text
        ), listed as (
            select *, json_keys(line, [{", ".join(object_pointers(objects))}]) as keys from keyed
        ), counted as (
            select *, sum(list_sum([coalesce(len(inside), 0) + 1 for inside in keys])) over () as count from listed
        )
        select shape, event_text, events, case when count <= {limits.MAX_KEYS} then keys end
        from counted order by event_text, shape
        """
    )
    paths: list[Path] = [(), *sorted(objects)]
    if any(keys is None for *_, keys in rows):
        raise limits.ManyNamesFound
    return [
        Shape(number, event, _real(dict(zip(paths, keys, strict=True))), events) for number, event, events, keys in rows
    ]


def _real(keys: Mapping[Path, Sequence[str] | None]) -> dict[Path, Sequence[str]]:
    """Return the keys of actual objects, without nulls and without those that a pointer found in an array."""
    real: dict[Path, Sequence[str]] = {}
    for path, inside in keys.items():  # sorted: parents come before children
        if inside and (not path or path[-1] in real.get(path[:-1], ())):
            real[path] = inside
    return real


def mark_wrong_kinds(session: Session, shapes: Iterable[Shape]) -> bool:
    """Mark events whose context or properties are not an object; return whether there may have been such events."""
    candidates = [
        (shape, key)
        for shape in shapes
        for key in (CONTEXT, PROPERTIES)
        if key in shape.keys.get((), ()) and (key,) not in shape.keys
    ]
    for key in {key for _, key in candidates}:
        numbers = ", ".join(str(shape.number) for shape, candidate in candidates if candidate == key)
        mark_wrong_kind(session, key, f"shape in ({numbers})")
    return bool(candidates)


def mark_wrong_kind(session: Session, key: str, condition: str = "true") -> None:
    """Mark events of which a field is not an object.

    An empty array, to which PHP encodes an empty object, is not a reason to reject an event.
    """
    session.execute(
        f"""
        update envelope set verdict = 'wrong_kind'
        where verdict is null and {condition} and json_type(line, '/{key}') not in ('OBJECT', 'NULL')
            and not (json_type(line, '/{key}') = 'ARRAY' and json_array_length(line, '/{key}') = 0)
        """
    )


def find_objects(session: Session, condition: str, paths: Iterable[Path], known: Set[Path]) -> None:
    """Search events for objects at paths that are not among the known ones.

    Raises NestedObjectsFound with the paths of those found.
    """
    candidates = sorted(path for path in set(paths) - known if len(path) < MAX_DEPTH)
    deeper: list[Path] = []
    for group in _groups(candidates):
        found = session.rows(
            f"select distinct i from ({_unnested('json_type', group, condition)}) where value = 'OBJECT'"
        )
        deeper += [group[i - 1] for (i,) in sorted(found)]
    if deeper := deeper[: MAX_OBJECTS - len(known)]:
        raise NestedObjectsFound(set(deeper))


def first_values(session: Session, condition: str, paths: Iterable[Path], known: Set[Path]) -> dict[Path, str]:
    """Return the first value at each path as JSON: that of the earliest event, regardless of the order of lines.

    Nulls, empty objects, and objects at known paths do not count as values.
    """
    firsts: dict[Path, str] = {}
    for group in _groups(list(paths)):
        objects = ", ".join(["0", *(str(i) for i, path in enumerate(group, 1) if path in known)])
        found = session.rows(
            f"""
            select i, arg_min(value::varchar, {{'time': original_timestamp, 'id': id}})
            from ({_unnested("json_extract", group, condition)})
            where value::varchar not in ('null', '{{}}') and not (value::varchar like '{{%' and i in ({objects}))
            group by i
            """
        )
        firsts |= {group[i - 1]: value for i, value in found}
    return firsts


def _groups(paths: Sequence[Path]) -> Iterator[Sequence[Path]]:
    return (paths[start : start + WIDTH] for start in range(0, len(paths), WIDTH))


def _unnested(function: str, paths: Sequence[Path], condition: str) -> str:
    """Return SQL for the result of a function at each path of each event; `i` is the number of the path, from 1."""
    plain = [path for path in paths if not objects_only(path)]
    guarded = [path for path in paths if objects_only(path)]
    found = f"{function}(line, [{', '.join(quote_literal(pointer(path)) for path in plain)}])" if plain else "[]"
    checked = ", ".join(
        f"case when {objects_only(path)} then {function}(line, {quote_literal(pointer(path))}) end" for path in guarded
    )
    places = ", ".join(str(paths.index(path) + 1) for path in (*plain, *guarded))
    return f"""
        select original_timestamp, id, unnest(list_concat({found}, [{checked}])) as value, unnest([{places}]) as i
        from envelope join events using (event_text)
        where verdict is null and {condition}
    """


def name_tables(session: Session, tables: Mapping[str, str]) -> None:
    """Create the relation `events`, which maps the name of an event to its table."""
    names = pa.array(list(tables), pa.string()), pa.array(list(tables.values()), pa.string())
    session.register("named", pa.table(names, ["event_text", "event"]))
    session.execute("create or replace temp table events as select * from named")


def mark_rejected(session: Session, verdicts: Mapping[str, str]) -> None:
    """Set the verdict on events, by name."""
    if verdicts:
        rows = pa.array(list(verdicts), pa.string()), pa.array(list(verdicts.values()), pa.string())
        session.register("verdicts", pa.table(rows, ["event_text", "verdict"]))
        session.execute(
            "update envelope set verdict = verdicts.verdict from verdicts "
            "where envelope.verdict is null and envelope.event_text = verdicts.event_text"
        )
