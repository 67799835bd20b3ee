"""Flatten the events of a chunk with very many names: one value for each column, all others discarded.

The work for a chunk depends on its bytes, not on how many names its events have or how these are spelled and nested.
The rules are those of `loader.transform.columns`, `extract` and `discards`, which are faster for a few names.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from loader.events import values
from loader.events.fields import CONTEXT, KNOWN_FIELDS, PROPERTIES, Path, property_name
from loader.events.identifiers import is_context
from loader.schema.catalog import MAX_SPELLINGS, Catalog, Name
from loader.schema.event_tables import TRACKS
from loader.transform.columns import column_of
from loader.transform.json_pairs import Pairs, dump_json, find_values, is_value, parse_json, unmark_long_numbers
from loader.transform.limits import DISCARDED_NAMES, EVENT_DISCARDS, check_rows

#: The reason, and the property, of the JSON object with those values of an event that are not discarded one by one.
TOO_MANY_NAMES, OTHERS = "too_many_names", "*"
#: Paths whose columns are remembered.
_REMEMBERED_PATHS = 50_000

#: The number of an event, its table, and its JSON text.
NumberedEvent = tuple[int, str, str]


def _rank(column: str, path: Path) -> tuple[bool, Path]:
    """Return what decides which of several paths fills a column; the smallest does."""
    return property_name(path) != column, path


@dataclass(slots=True)
class _Candidate:
    """The type of a missing column, and the rank of the path with the value that decides it."""

    rank: tuple[bool, Path]
    kind: str


@dataclass(slots=True)
class FlatEvent:
    """An event's value for each column with its path, and the values that are discarded, with the reasons."""

    columns: dict[str, tuple[Path, Any]] = field(default_factory=dict)
    discards: list[tuple[Path, Any, str]] = field(default_factory=list)

    def fill(self, column: str, path: Path, value: Any) -> tuple[Path, Any] | None:
        """Fill a column, and return the path and value that are in its place a collision, if there are."""
        before = self.columns.get(column)
        if before and _rank(column, before[0]) < _rank(column, path):
            return path, value
        self.columns[column] = path, value
        return before

    def text(self) -> str:
        """Return the values by column as a JSON object."""
        return dump_json(Pairs((column, value) for column, (_, value) in self.columns.items()))


def read_columns(text: str) -> dict[str, tuple[Path, Any]]:
    """Return the path and the value that fill each column of an event, if it exists."""
    flat = FlatEvent()
    for path, value in find_values(parse_json(text)).first:
        if len(path) > 1 and is_value(value) and (column := column_of(path)[0]):
            flat.fill(column, path, value)
    return flat.columns


class Flattener:
    """Flattens events for the tables of a catalog."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._known: dict[Path, tuple[str | None, str]] = {}
        self._names: dict[tuple[str, str], set[str]] = {}

    def _column_of(self, path: Path) -> tuple[str | None, str]:
        if path not in self._known:
            if len(self._known) >= _REMEMBERED_PATHS:
                self._known.clear()
            self._known[path] = column_of(path)
        return self._known[path]

    def add_columns(self, events: Iterable[NumberedEvent]) -> dict[str, set[str]]:
        """Add missing columns, typed by the first values; return the columns by table that the events fill.

        `events` are in order of time.
        """
        missing: dict[str, dict[str, _Candidate]] = {}
        filled: dict[str, set[str]] = {}
        for _, table, text in events:
            for path, value in find_values(parse_json(text)).first:
                if len(path) > 1 and is_value(value) and (column := self._column_of(path)[0]):
                    for place in (table, TRACKS) if is_context(column) else (table,):
                        if column in self._catalog.columns(place):
                            filled.setdefault(place, set()).add(column)
                        elif not self._catalog.is_refused(place, column):
                            self._propose(missing.setdefault(place, {}), place, column, path, value)
        for table in sorted(missing, key=lambda table: (table != TRACKS, table)):
            filled.setdefault(table, set()).update(self._add(table, missing[table]))
        return filled

    def _propose(self, missing: dict[str, _Candidate], table: str, column: str, path: Path, value: Any) -> None:
        """Remember a missing column; of very many only those whose names come first, since no others are added."""
        rank = _rank(column, path)
        if (before := missing.get(column)) is None or rank < before.rank:
            missing[column] = _Candidate(rank, values.column_type(unmark_long_numbers(dump_json(value))))
        most = self._catalog.free_columns(table) + 1
        if len(missing) > 2 * most + 1000:
            for name in sorted(missing)[most:]:
                del missing[name]

    def _add(self, table: str, missing: Mapping[str, _Candidate]) -> list[str]:
        names = [name for name in sorted(missing) if table == TRACKS or self._catalog.can_have_column(name)]
        wanted = self._catalog.columns_within_limit(table, names)
        kinds = {name: self._catalog.fixed_type(name) or missing[name].kind for name in wanted}
        self._catalog.add_columns(table, kinds)
        return [name for name in wanted if name in self._catalog.columns(table)]

    def flatten(self, table: str, text: str) -> FlatEvent:
        """Return an event of a table with its values in columns."""
        flat, found = FlatEvent(), find_values(parse_json(text))
        for path, value in found.first:
            if len(path) == 1:
                flat.discards += self._outside(path[0], value)
            elif is_value(value):
                self._place(flat, table, path, value)
        flat.discards += [(path, value, "repeated_key") for path, value in found.repeated]
        return flat

    def _outside(self, key: str, value: Any) -> Iterator[tuple[Path, Any, str]]:
        """Yield what is discarded of a field of an event."""
        if key in {CONTEXT, PROPERTIES} and is_value(value):
            yield (key,), value, "empty_list"  # events with other values than an empty list are rejected
        elif key not in KNOWN_FIELDS and is_value(value):
            yield (key,), value, "unknown_field"

    def _place(self, flat: FlatEvent, table: str, path: Path, value: Any) -> None:
        column, reason = self._column_of(path)
        if column is None:
            flat.discards.append((path, value, reason))
            return
        has_column = column in self._catalog.columns(table) and self._catalog.can_have_column(column)
        if has_column:
            self._add_name(table, column, path)
        else:
            flat.discards.append((path, value, "no_column"))
        if has_column or (is_context(column) and column in self._catalog.columns(TRACKS)):
            loser = flat.fill(column, path, value)
            if loser and has_column:
                flat.discards.append((*loser, "collision"))

    def _add_name(self, table: str, column: str, path: Path) -> None:
        names = self._names.setdefault((table, column), set())
        if len(names) < MAX_SPELLINGS:
            names.add(property_name(path))

    def names(self) -> Iterator[Name]:
        """Yield names of the properties with columns in the events that were flattened."""
        for (table, column), names in self._names.items():
            yield from (Name(table, name, column) for name in sorted(names))


@dataclass(slots=True)
class FlatDiscards:
    """The discarded values of a chunk: event numbers, properties, values as JSON, and reasons."""

    numbers: list[int] = field(default_factory=list)
    properties: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    _names: set[str] = field(default_factory=set)

    def add(self, n: int, discards: Iterable[tuple[Path, Any, str]]) -> None:
        """Add the discarded values of an event, those beyond the limits as one JSON object.

        Raises TooLargeError.
        """
        others, first = Pairs(), len(self.numbers)
        for path, value, reason in discards:
            name = property_name(path)
            if len(self.numbers) - first >= EVENT_DISCARDS or not self._is_within_limit(name):
                others.append((name, value))
            else:
                self._append(n, name, dump_json(value), reason)
        if others:
            self._append(n, OTHERS, dump_json(others), TOO_MANY_NAMES)
        check_rows(len(self.numbers))

    def _is_within_limit(self, name: str) -> bool:
        if len(self._names) < DISCARDED_NAMES:
            self._names.add(name)
        return name in self._names

    def _append(self, n: int, name: str, text: str, reason: str) -> None:
        self.numbers.append(n)
        self.properties.append(name)
        self.texts.append(text)
        self.reasons.append(reason)

    def table(self) -> pa.Table:
        """Return the columns `place`, which is the order, `n`, `property`, `value`, `reason`."""
        columns = {
            "place": pa.array(range(len(self.numbers)), pa.int64()),
            "n": pa.array(self.numbers, pa.int32()),
            "property": pa.array(self.properties, pa.string()),
            "value": pa.array(self.texts, pa.string()),
            "reason": pa.array(self.reasons, pa.string()),
        }
        return pa.table(columns)
