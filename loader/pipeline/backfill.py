"""Filling: discarded values → columns that can take them, each in the transaction in which its discard ends."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

import pyarrow as pa
import pyarrow.compute as pc

from loader.errors import ContentionError, RefusedError
from loader.events import values
from loader.events.identifiers import column_identifier, is_context
from loader.postgres import advisory_locks
from loader.postgres.connection import Warehouse
from loader.postgres.copy import array_literal
from loader.quoting import quote_identifier
from loader.schema.catalog import Catalog, Name, SchemaLimits
from loader.schema.event_tables import TRACKS
from loader.transform.refit import ClaimedDiscards, TargetColumn, pivot_values, refit_values

log = logging.getLogger(__name__)

#: Values that are taken at a time.
BATCH = 20_000

#: Tables whose columns, beside the fixed ones, are in the views' figures, which have to be made anew then.
TABLES_IN_FIGURES = {"email_machine_opened"}

_TAKE = """
    select ctid::text, original_timestamp, event_id, property, value, discard_id from discarded_values
    where reason = %s and table_name = %s and property = any(%s)
    order by original_timestamp, event_id
    limit %s for update
"""
_PLACED = "delete from discarded_values where ctid = any(%s::tid[])"
_CHANGE_REASON = "update discarded_values set reason = %s where ctid = any(%s::tid[])"
#: By the time-ordered index, which finds nulls only if it is asked for them.
_UPDATE = """
    update {table} as event set {assignments}
    from unnest(%s::timestamptz[], %s::text[], {arrays}) as placed (original_timestamp, id, {names})
    where event.id = placed.id and {same_time}
"""
_SAME_TIME = (
    "event.original_timestamp = placed.original_timestamp",
    "event.original_timestamp is null and placed.original_timestamp is null",
)


def backfill(warehouse: Warehouse, table: str, homes: Sequence[TargetColumn]) -> int:
    """Put what waits for columns that are there into them, and return the number of values placed.

    Some events at a time: a kill leaves each with all or none of its values. Locks that are not free leave the rest
    waiting; values with which the database refuses the row wait no longer. What was discarded of an event that
    somebody has deleted since ends too. Raises WarehouseError if the database fails.
    """
    placed, limit, taken = 0, BATCH, ClaimedDiscards([], 0)
    while homes:
        try:
            with warehouse.transaction(lock_timeout=advisory_locks.TABLE_TIMEOUT):
                taken = (
                    claim_discards(warehouse, table, "no_column", homes, limit)
                    if _is_ours(warehouse)
                    else ClaimedDiscards([], 0)
                )
                if not taken.rows:
                    break
                placed += resolve_discards(warehouse, table, homes, taken)
            limit = BATCH
        except ContentionError as exc:
            log.warning("values of %r wait for a later load: %s", table, exc)
            break
        except RefusedError as exc:
            if taken.events == 1:
                _mark_no_room(warehouse, table, homes, exc)
            limit = max(taken.events // 8, 1)
    return placed


def _is_ours(warehouse: Warehouse) -> bool:
    """Tell whether nobody else fills columns of this source now; nobody will until the transaction ends."""
    ((ours,),) = warehouse.fetch(
        "select pg_try_advisory_xact_lock(%s, hashtext(%s))", advisory_locks.FILL, warehouse.ops
    )
    return bool(ours)


def _mark_no_room(warehouse: Warehouse, table: str, homes: Sequence[TargetColumn], refusal: RefusedError) -> None:
    """Let the values of the first event wait no longer: the database refuses its row with them."""
    log.warning("values of an event of %r have no room in its row: %s", table, refusal)
    with warehouse.transaction():
        _change_reason(
            warehouse, "no_room", [row[0] for row in claim_discards(warehouse, table, "no_column", homes, 1).rows]
        )


def claim_discards(
    warehouse: Warehouse, table: str, reason: str, homes: Sequence[TargetColumn], limit: int
) -> ClaimedDiscards:
    """Lock and return the values that were discarded for a reason, of some events, `limit` at most."""
    properties, size = [name for home in homes for name in home.properties], BATCH
    while True:
        rows = warehouse.fetch(_TAKE, reason, table, properties, size)
        events = [list(values) for _, values in groupby(rows, key=lambda row: row[1:3])]
        if len(rows) == size:
            events.pop()  # it may have more values than these
        if events or not rows:
            return ClaimedDiscards([row for values in events[:limit] for row in values], min(len(events), limit))
        size *= 4


def resolve_discards(warehouse: Warehouse, table: str, homes: Sequence[TargetColumn], taken: ClaimedDiscards) -> int:
    """Put values into their columns, in the transaction at hand, and return how many; the others get a new reason."""
    judged = refit_values(homes, taken)
    fitting = judged.filter(pc.is_null(judged["reason"]))
    numbered = list(enumerate(homes))
    _update(warehouse, table, numbered, fitting)
    _update(warehouse, TRACKS, [(n, home) for n, home in numbered if is_context(home.name)], fitting)
    warehouse.fetch(_PLACED, fitting["tid"].to_pylist())
    if table in TABLES_IN_FIGURES and fitting.num_rows:
        warehouse.fetch("delete from refreshed")
    for reason in ("misfit", "collision"):
        _change_reason(warehouse, reason, judged.filter(pc.equal(judged["reason"], reason))["tid"].to_pylist())
    return int(fitting.num_rows)


def _change_reason(warehouse: Warehouse, reason: str, tids: Sequence[str]) -> None:
    warehouse.fetch(_CHANGE_REASON, reason, list(tids))


def _update(warehouse: Warehouse, table: str, homes: Sequence[tuple[int, TargetColumn]], fitting: pa.Table) -> None:
    """Put values into the columns of a table."""
    wanted = fitting.filter(pc.is_in(fitting["home"], pa.array([n for n, _ in homes], pa.int64())))
    if not wanted.num_rows:
        return
    there = set(wanted["home"].unique().to_pylist())
    filled = [(n, home) for n, home in homes if n in there]
    events = pivot_values(wanted, [n for n, _ in filled])
    keys = [events["original_timestamp"].cast(pa.string()), events["id"], *events.columns[2:]]
    statement = _UPDATE.format(
        table=f"{quote_identifier(warehouse.schema)}.{quote_identifier(table)}",
        assignments=", ".join(
            f"{quote_identifier(home.name)} = coalesce(c{n}, event.{quote_identifier(home.name)})" for n, home in filled
        ),
        arrays=", ".join(f"%s::{home.kind}[]" for _, home in filled),
        names=", ".join(f"c{n}" for n, _ in filled),
        same_time="{same_time}",
    )
    for same_time in _SAME_TIME:
        warehouse.fetch(statement.format(same_time=same_time), *map(array_literal, keys))


_WAITING = "select table_name, property from discarded_values where reason = 'no_column' group by 1, 2 order by 1, 2"
#: The first value of each property, as a load finds it: that of the earliest event.
_FIRST = """
    select distinct on (property) property, value from discarded_values
    where reason = 'no_column' and table_name = any(%s) and property = any(%s)
    order by property, original_timestamp, event_id, discard_id
"""


def backfill_waiting_columns(warehouse: Warehouse, limits: SchemaLimits) -> tuple[int, list[str]]:
    """Put values that wait for a column into it; columns that are missing are added.

    Returns the number of values, and the statements that added columns.

    Values whose columns cannot be added now go on waiting, and one that does not fit stays with that reason. Raises
    WarehouseError if the database fails.
    """
    with warehouse.transaction():
        waiting = warehouse.fetch(_WAITING)
    if not waiting:
        return 0, []
    catalog = Catalog(warehouse, limits)
    properties: dict[str, list[str]] = {}
    for table, name in waiting:
        if catalog.has(table):
            properties.setdefault(table, []).append(name)
    wanted = {table: _columns(names) for table, names in properties.items()}
    _add(warehouse, catalog, TRACKS, list(wanted), _shared(wanted.values()))
    placed = 0
    for table, columns in wanted.items():
        _add(
            warehouse, catalog, table, [table], {c: names for c, names in columns.items() if catalog.can_have_column(c)}
        )
        kinds = catalog.columns(table)
        homes = [
            TargetColumn(c, kinds[c], names)
            for c, names in columns.items()
            if c in kinds and catalog.can_have_column(c)
        ]
        catalog.record(Name(table, name, home.name) for home in homes for name in home.properties)
        placed += backfill(warehouse, table, homes)
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
    missing = catalog.columns_within_limit(table, sorted(wanted.keys() - catalog.columns(table).keys()))
    if not missing:
        return
    with warehouse.transaction():
        firsts = dict(warehouse.fetch(_FIRST, list(sources), [name for column in missing for name in wanted[column]]))
    shared = catalog.columns(TRACKS)
    kinds = {
        column: shared.get(column)
        or values.column_type(next(firsts[name] for name in wanted[column] if name in firsts))
        for column in missing
        if any(name in firsts for name in wanted[column])
    }
    if kinds:
        catalog.add_columns(table, kinds)
