"""Survey: what a chunk's events look like: their shapes, where objects are, the first value of a column."""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

import pyarrow as pa

from loader.duckdb import Session, objects_only
from loader.events.fields import CONTEXT, MAX_DEPTH, PROPERTIES, Path, pointer
from loader.quoting import quote_literal

#: Objects above this number stay JSON text, so that a hostile chunk does not take for ever.
MAX_OBJECTS = 1000
#: Paths that are looked at together.
WIDTH = 500


@dataclass(frozen=True, slots=True)
class Shape:
    """The keys of some events of one name: those of every object that has some."""

    number: int
    event_text: str
    keys: Mapping[Path, Sequence[str]]

    @property
    def condition(self) -> str:
        """SQL for the events that have it."""
        return f"shape = {self.number} and event_text = {quote_literal(self.event_text)}"

    @property
    def repeats(self) -> bool:
        """Tell whether a name comes twice in an object."""
        return any(len(keys) != len(set(keys)) for keys in self.keys.values())


class NestedObjectsFound(Exception):  # noqa: N818
    """There are objects that have not been looked into: `paths`."""

    def __init__(self, paths: set[Path]) -> None:
        self.paths = paths


def object_pointers(objects: Iterable[Path]) -> list[str]:
    """Return the objects whose keys make a shape, the event itself first, as SQL."""
    return [quote_literal(pointer(path)) for path in ((), *sorted(objects))]


def read_shapes(session: Session, objects: Set[Path]) -> list[Shape]:
    """Return the shapes of the events to load."""
    found = session.rows(
        f"""
        select shape, event_text, json_keys(any_value(line), [{", ".join(object_pointers(objects))}])
        from envelope where verdict is null group by shape, event_text order by event_text, shape
        """
    )
    paths: list[Path] = [(), *sorted(objects)]
    return [Shape(number, event, _real(dict(zip(paths, keys, strict=True)))) for number, event, keys in found]


def _real(keys: Mapping[Path, Sequence[str] | None]) -> dict[Path, Sequence[str]]:
    """Return the keys of true objects: not of what is no object, nor of what a pointer found in an array."""
    real: dict[Path, Sequence[str]] = {}
    for path, inside in keys.items():  # parents come first
        if inside and (not path or path[-1] in real.get(path[:-1], ())):
            real[path] = inside
    return real


def mark_wrong_kinds(session: Session, shapes: Iterable[Shape]) -> bool:
    """Set aside events whose context or properties are no object; return whether there may have been some."""
    doubtful = [
        (shape, key)
        for shape in shapes
        for key in (CONTEXT, PROPERTIES)
        if key in shape.keys.get((), ()) and (key,) not in shape.keys
    ]
    for key in {key for _, key in doubtful}:
        numbers = ", ".join(str(shape.number) for shape, doubted in doubtful if doubted == key)
        session.execute(
            f"""
            update envelope set verdict = 'wrong_kind'
            where verdict is null and shape in ({numbers}) and json_type(line, '/{key}') not in ('OBJECT', 'NULL')
            """
        )
    return bool(doubtful)


def find_objects(session: Session, condition: str, paths: Iterable[Path], known: Set[Path]) -> None:
    """Look for objects at paths that are not known to hold some.

    Raises DeeperError if there are.
    """
    candidates = sorted(path for path in set(paths) - known if len(path) < MAX_DEPTH)
    deeper: list[Path] = []
    for some in _some(candidates):
        found = session.rows(
            f"select distinct i from ({_unnested('json_type', some, condition)}) where value = 'OBJECT'"
        )
        deeper += [some[i - 1] for (i,) in sorted(found)]
    if deeper := deeper[: MAX_OBJECTS - len(known)]:
        raise NestedObjectsFound(set(deeper))


def first_values(session: Session, condition: str, paths: Iterable[Path], known: Set[Path]) -> dict[Path, str]:
    """Return the first value at each path, as JSON: that of the earliest event, in whatever line.

    Null is none, nor are objects at the paths that are known to hold some.
    """
    firsts: dict[Path, str] = {}
    for some in _some(list(paths)):
        objects = ", ".join(["0", *(str(i) for i, path in enumerate(some, 1) if path in known)])
        found = session.rows(
            f"""
            select i, arg_min(value::varchar, {{'time': original_timestamp, 'id': id}})
            from ({_unnested("json_extract", some, condition)})
            where value::varchar not in ('null', '{{}}') and not (value::varchar like '{{%' and i in ({objects}))
            group by i
            """
        )
        firsts |= {some[i - 1]: value for i, value in found}
    return firsts


def _some(paths: Sequence[Path]) -> Iterator[Sequence[Path]]:
    return (paths[start : start + WIDTH] for start in range(0, len(paths), WIDTH))


def _unnested(function: str, paths: Sequence[Path], condition: str) -> str:
    """Return SQL for what a function finds at each path: `i` counts the paths, from 1."""
    plain = [path for path in paths if not objects_only(path)]
    guarded = [path for path in paths if objects_only(path)]
    found = f"{function}(line, [{', '.join(quote_literal(pointer(path)) for path in plain)}])" if plain else "[]"
    others = ", ".join(
        f"case when {objects_only(path)} then {function}(line, {quote_literal(pointer(path))}) end" for path in guarded
    )
    places = ", ".join(str(paths.index(path) + 1) for path in (*plain, *guarded))
    return f"""
        select original_timestamp, id, unnest(list_concat({found}, [{others}])) as value, unnest([{places}]) as i
        from envelope join events using (event_text)
        where verdict is null and {condition}
    """


def name_tables(session: Session, tables: Mapping[str, str]) -> None:
    """Make `events`: which table the events of a name go to."""
    names = pa.array(list(tables), pa.string()), pa.array(list(tables.values()), pa.string())
    session.register("named", pa.table(names, ["event_text", "event"]))
    session.execute("create or replace temp table events as select * from named")


def mark_rejected(session: Session, verdicts: Mapping[str, str]) -> None:
    """Give the events of some names a verdict."""
    if verdicts:
        told = pa.array(list(verdicts), pa.string()), pa.array(list(verdicts.values()), pa.string())
        session.register("told", pa.table(told, ["event_text", "verdict"]))
        session.execute(
            "update envelope set verdict = told.verdict from told "
            "where envelope.verdict is null and envelope.event_text = told.event_text"
        )
