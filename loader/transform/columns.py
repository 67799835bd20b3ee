"""Shapes: which keys a chunk's events have → which columns they become; decided per shape, never per event."""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass

from loader.duckdb import Session
from loader.events import values
from loader.events.fields import CONTEXT, KNOWN_FIELDS, PROPERTIES, Path, leaves, property_name
from loader.events.identifiers import column_identifier, is_context, snake
from loader.quoting import quote_literal
from loader.schema.catalog import Catalog, Name
from loader.schema.event_tables import STANDARD, TRACKS
from loader.transform.discards import WithoutColumn
from loader.transform.extract import Column
from loader.transform.shapes import Shape, find_objects, first_values

NAMELESS, RESERVED = "nameless", "reserved"


@dataclass(frozen=True, slots=True)
class Columns:
    """What becomes of one table's values: columns with the paths that fill them, and paths that have no column."""

    paths: Mapping[str, Sequence[Path]]
    discarded: Mapping[Path, str]


def assign_columns(paths: Iterable[Path]) -> Columns:
    """Return the columns for the paths of one table's events.

    Where several paths meet in a column, the first that has a value fills it: the one spelled like the column, then
    the others in order, whatever the order of the events. Names of standard columns, and `context_…` among the
    properties, are Segment's.
    """
    found: dict[str, list[Path]] = {}
    discarded: dict[Path, str] = {}
    for path in sorted(paths):
        identifier = column_identifier(property_name(path)) if snake(".".join(path[1:])) else None
        if identifier is None:
            discarded[path] = NAMELESS
        elif _reserved(identifier, path):
            discarded[path] = RESERVED
        else:
            found.setdefault(identifier, []).append(path)
    for identifier, meeting in found.items():
        meeting.sort(key=lambda path: property_name(path) != identifier)
    return Columns(found, discarded)


def _reserved(identifier: str, path: Path) -> bool:
    return path[0] == PROPERTIES and (identifier in STANDARD or is_context(identifier))


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of a table that a chunk's events fill, paths that are objects in some events, values to discard."""

    columns: Sequence[Column]
    mixed: Set[Path]
    discarded: Sequence[WithoutColumn]


@dataclass(frozen=True, slots=True)
class Planner:
    """Lays out tables for the events in `envelope`."""

    session: Session
    catalog: Catalog
    objects: Set[Path]

    def plan_context(self, shapes: Sequence[Shape]) -> Sequence[Column]:
        """Return the columns of `tracks`: those of all contexts, which have one type in all tables.

        Raises DeeperError.
        """
        columns = assign_columns({path for path in self._paths(shapes) if path[0] == CONTEXT})
        self._add_missing(TRACKS, columns.paths, "true")
        return self._placed(TRACKS, columns)

    def plan(self, table: str, shapes: Sequence[Shape]) -> Layout:
        """Return the layout of a table; its missing columns are added if possible.

        Raises DeeperError.
        """
        paths = self._paths(shapes)
        columns = assign_columns(paths)
        self._add_missing(table, columns.paths, f"event = {quote_literal(table)}")
        placed = self._placed(table, columns)
        at_home = {path for column in placed for path in column.paths}
        without_column = {
            path: "no_column" for meeting in columns.paths.values() for path in meeting if path not in at_home
        }
        self.catalog.record(Name(table, property_name(path), column.name) for column in placed for path in column.paths)
        return Layout(
            placed,
            self.objects & paths,
            list(self._discarded(shapes, {**columns.discarded, **without_column})),
        )

    def _placed(self, table: str, columns: Columns) -> list[Column]:
        """Return the columns that the table has; a context's only if `tracks`, where it belongs too, has it."""
        kinds = self.catalog.columns(table)
        return [
            Column(name, kinds[name], tuple(paths))
            for name, paths in columns.paths.items()
            if name in kinds and self.catalog.can_have_column(name)
        ]

    def _paths(self, shapes: Iterable[Shape]) -> set[Path]:
        return {path for found in shapes for path in self._leaves(found)}

    def _leaves(self, found: Shape) -> set[Path]:
        """Return the paths of a shape's values; context and properties themselves hold none."""
        return leaves(found.keys) - {(CONTEXT,), (PROPERTIES,)}

    def _add_missing(self, table: str, columns: Mapping[str, Sequence[Path]], condition: str) -> None:
        """Add columns that have a value, each with the type of its first one; a context's has that of `tracks`."""
        kinds = self.catalog.columns(table)
        missing = [
            name
            for name in sorted(columns)
            if name not in kinds
            and not self.catalog.is_refused(table, name)
            and (table == TRACKS or self.catalog.can_have_column(name))
        ]
        wanted = self.catalog.columns_within_limit(table, missing)
        paths = [path for name in wanted for path in columns[name]]
        find_objects(self.session, condition, paths, self.objects)
        firsts = first_values(self.session, condition, paths, self.objects)
        context = self.catalog.columns(TRACKS) if table != TRACKS else {}
        kinds_wanted = {
            name: context.get(name)
            or values.column_type(next(firsts[path] for path in columns[name] if path in firsts))
            for name in wanted
            if any(path in firsts for path in columns[name])
        }
        self.catalog.add_columns(table, kinds_wanted)

    def _discarded(self, shapes: Iterable[Shape], reasons: Mapping[Path, str]) -> Iterable[WithoutColumn]:
        """Return what to discard, a shape at a time, so that the work is that of the values there are."""
        for found in shapes:
            unknown: dict[Path, str] = {
                (key,): "unknown_field" for key in found.keys.get((), ()) if key not in KNOWN_FIELDS
            }
            without_column = {path: reasons[path] for path in sorted(self._leaves(found)) if path in reasons}
            if unknown or without_column:
                yield WithoutColumn(found, {**unknown, **without_column})
