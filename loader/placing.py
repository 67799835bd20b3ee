"""Placing: values that waited for their column → the column, once it can be had."""

from collections.abc import Iterable, Mapping, Sequence

from loader import values
from loader.catalog import Caps, Catalog, Name
from loader.filling import Home, fill
from loader.names import column_identifier, is_context
from loader.tables import TRACKS
from loader.warehouse import Warehouse

_WAITING = "select table_name, property from discarded_values where reason = 'no_column' group by 1, 2 order by 1, 2"
#: The first value of each property, as a load finds it: that of the earliest event.
_FIRST = """
    select distinct on (property) property, value from discarded_values
    where reason = 'no_column' and table_name = any(%s) and property = any(%s)
    order by property, original_timestamp, event_id, discard_id
"""


def place_waiting(warehouse: Warehouse, caps: Caps) -> tuple[int, list[str]]:
    """Put values that wait for a column into it; columns that are missing are added.

    Returns the number of values, and the statements that added columns.

    Values whose columns cannot be added now go on waiting, and one that does not fit stays with that reason. Raises
    WarehouseError if the database fails.
    """
    with warehouse.transaction():
        waiting = warehouse.fetch(_WAITING)
    if not waiting:
        return 0, []
    catalog = Catalog(warehouse, caps)
    properties: dict[str, list[str]] = {}
    for table, name in waiting:
        if catalog.has(table):
            properties.setdefault(table, []).append(name)
    wanted = {table: _columns(names) for table, names in properties.items()}
    _add(warehouse, catalog, TRACKS, list(wanted), _shared(wanted.values()))
    placed = 0
    for table, columns in wanted.items():
        _add(warehouse, catalog, table, [table], {c: names for c, names in columns.items() if catalog.is_ripe(c)})
        kinds = catalog.columns(table)
        homes = [Home(c, kinds[c], names) for c, names in columns.items() if c in kinds and catalog.is_ripe(c)]
        catalog.record(Name(table, name, home.name) for home in homes for name in home.properties)
        placed += fill(warehouse, table, homes)
    return placed, catalog.statements


def _columns(properties: Sequence[str]) -> dict[str, list[str]]:
    """Return the columns of properties; of several that meet in one, the one spelled like it comes first.

    >>> _columns(["A-b", "a.b", "a_b"])
    {'a_b': ['a_b', 'A-b', 'a.b']}
    """
    columns: dict[str, list[str]] = {}
    for name in properties:
        if column := column_identifier(name):
            columns.setdefault(column, []).append(name)
    return {column: sorted(names, key=lambda name: (name != column, name)) for column, names in columns.items()}


def _shared(wanted: Iterable[Mapping[str, Sequence[str]]]) -> dict[str, list[str]]:
    """Return the columns of the context, which belong to `tracks` too."""
    shared: dict[str, list[str]] = {}
    for columns in wanted:
        for column, names in columns.items():
            if is_context(column):
                shared[column] = list(dict.fromkeys([*shared.get(column, ()), *names]))
    return shared


def _add(
    warehouse: Warehouse, catalog: Catalog, table: str, sources: Sequence[str], wanted: Mapping[str, Sequence[str]]
) -> None:
    """Add columns that a table does not have yet and has room for, with the types of the first values that wait."""
    missing = catalog.affordable(table, sorted(wanted.keys() - catalog.columns(table).keys()))
    if not missing:
        return
    with warehouse.transaction():
        firsts = dict(warehouse.fetch(_FIRST, list(sources), [name for column in missing for name in wanted[column]]))
    shared = catalog.columns(TRACKS)
    kinds = {
        column: shared.get(column) or values.kind(next(firsts[name] for name in wanted[column] if name in firsts))
        for column in missing
        if any(name in firsts for name in wanted[column])
    }
    if kinds:
        catalog.add_columns(table, kinds)
