"""Plan the columns of a chunk's tables from the shapes of its events, and add those that are missing."""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass

from loader.duckdb import Session
from loader.events import values
from loader.events.fields import CONTEXT, KNOWN_FIELDS, PROPERTIES, Path, leaves, property_name
from loader.events.identifiers import column_identifier, is_context, snake
from loader.quoting import quote_literal
from loader.schema.catalog import Catalog, Name
from loader.schema.event_tables import STANDARD, TRACKS
from loader.transform import limits
from loader.transform.discards import WithoutColumn
from loader.transform.extract import Column
from loader.transform.json_pairs import unmark_long_numbers
from loader.transform.shapes import Shape, find_objects, first_values

NAMELESS, RESERVED = "nameless", "reserved"


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of one table with the paths that fill each, and reasons for the paths that cannot have a column."""

    paths: Mapping[str, Sequence[Path]]
    discarded: Mapping[Path, str]


def assign_columns(paths: Iterable[Path]) -> Columns:
    """Return the columns for the paths of one table's events.

    If several paths have the same column, the first path with a value fills it: the one spelled like the column, then
    the others in sorted order, so that the order of events does not matter. Properties named like standard columns or
    `context_…` are reserved by Segment.
    """
    assigned: dict[str, list[Path]] = {}
    discarded: dict[Path, str] = {}
    for path in sorted(paths):
        identifier, reason = column_of(path)
        if identifier is None:
            discarded[path] = reason
        else:
            assigned.setdefault(identifier, []).append(path)
    for identifier, sharing in assigned.items():
        sharing.sort(key=lambda path: property_name(path) != identifier)
    return Columns(assigned, discarded)


def column_of(path: Path) -> tuple[str | None, str]:
    """Return the column for a path, or None and the reason why it cannot have one.

    >>> column_of(("properties", "emailId")), column_of(("context", "é")), column_of(("properties", "Context.ip"))
    (('email_id', ''), (None, 'nameless'), (None, 'reserved'))
    """
    identifier = column_identifier(property_name(path)) if snake(".".join(path[1:])) else None
    if identifier is None:
        return None, NAMELESS
    if path[0] == PROPERTIES and (identifier in STANDARD or is_context(identifier)):
        return None, RESERVED
    return identifier, ""


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns that a chunk's events fill, paths that are objects in some events only, and values to discard."""

    columns: Sequence[Column]
    mixed: Set[Path]
    discarded: Sequence[WithoutColumn]


@dataclass(frozen=True, slots=True)
class Planner:
    """Plans the layout of tables for the events in `envelope`."""

    session: Session
    catalog: Catalog
    objects: Set[Path]

    def plan_context(self, shapes: Sequence[Shape]) -> Sequence[Column]:
        """Return the columns of `tracks`: those of the context, which have the same type in all tables.

        Raises NestedObjectsFound, ManyNamesFound, TooLargeError.
        """
        columns = assign_columns({path for path in self._paths(shapes) if path[0] == CONTEXT})
        self._add_missing(TRACKS, columns.paths, "true", shapes)
        placed = self._placed(TRACKS, columns)
        limits.check_spellings(_count(shapes), [column.paths for column in placed])
        return placed

    def plan(self, table: str, shapes: Sequence[Shape]) -> Layout:
        """Return the layout of a table, after adding missing columns if possible.

        Raises NestedObjectsFound, ManyNamesFound, TooLargeError.
        """
        paths = self._paths(shapes)
        columns = assign_columns(paths)
        self._add_missing(table, columns.paths, f"event = {quote_literal(table)}", shapes)
        placed = self._placed(table, columns)
        limits.check_spellings(_count(shapes), [column.paths for column in placed])
        with_column = {path for column in placed for path in column.paths}
        without_column = {
            path: "no_column" for sharing in columns.paths.values() for path in sharing if path not in with_column
        }
        self.catalog.record(Name(table, property_name(path), column.name) for column in placed for path in column.paths)
        return Layout(
            placed,
            self.objects & paths,
            list(self._discarded(shapes, {**columns.discarded, **without_column})),
        )

    def _placed(self, table: str, columns: Columns) -> list[Column]:
        """Return those of the columns that the table has; one of the context only if `tracks` has it too."""
        kinds = self.catalog.columns(table)
        return [
            Column(name, kinds[name], tuple(paths))
            for name, paths in columns.paths.items()
            if name in kinds and self.catalog.can_have_column(name)
        ]

    def _paths(self, shapes: Iterable[Shape]) -> set[Path]:
        return {path for shape in shapes for path in self._leaves(shape)}

    def _leaves(self, shape: Shape) -> set[Path]:
        """Return the paths of a shape's values, without the context and the properties themselves."""
        return leaves(shape.keys) - {(CONTEXT,), (PROPERTIES,)}

    def _add_missing(
        self, table: str, columns: Mapping[str, Sequence[Path]], condition: str, shapes: Sequence[Shape]
    ) -> None:
        """Add missing columns that have a value, with their fixed type, else that of the first."""
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
        limits.check_spellings(_count(shapes), [columns[name] for name in wanted])
        limits.check_cells(_count(shapes) * len(paths))
        find_objects(self.session, condition, paths, self.objects)
        firsts = first_values(self.session, condition, paths, self.objects)
        kinds_wanted = {
            name: self.catalog.fixed_type(name)
            or values.column_type(unmark_long_numbers(next(firsts[path] for path in columns[name] if path in firsts)))
            for name in wanted
            if any(path in firsts for path in columns[name])
        }
        self.catalog.add_columns(table, kinds_wanted)

    def _discarded(self, shapes: Iterable[Shape], reasons: Mapping[Path, str]) -> Iterable[WithoutColumn]:
        """Yield the values to discard by shape, so that each event is searched only for the paths that it has."""
        for shape in shapes:
            unknown: dict[Path, str] = {
                (key,): "unknown_field" for key in shape.keys.get((), ()) if key not in KNOWN_FIELDS
            }
            emptied = {(key,): "empty_list" for key in (CONTEXT, PROPERTIES) if key in shape.keys.get((), ())}
            unknown |= {path: reason for path, reason in emptied.items() if path not in shape.keys}
            without_column = {path: reasons[path] for path in sorted(self._leaves(shape)) if path in reasons}
            if unknown or without_column:
                yield WithoutColumn(shape, {**unknown, **without_column})


def _count(shapes: Iterable[Shape]) -> int:
    """Return the number of events."""
    return sum(shape.events for shape in shapes)
