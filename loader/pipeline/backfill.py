"""Write discarded values into columns that have been added since.

The transaction that writes a value also deletes it from `discarded_values`.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

import pyarrow as pa
import pyarrow.compute as pc

from loader.errors import ContentionError, RefusedError
from loader.events import values
from loader.events.identifiers import column_identifier, is_context
from loader.events.times import DEFAULT_TIMES, TimeReading
from loader.pipeline.options import Options
from loader.postgres import advisory_locks
from loader.postgres.connection import Warehouse
from loader.postgres.copy import array_literal
from loader.quoting import quote_identifier
from loader.schema.catalog import Catalog, Name
from loader.schema.event_tables import COLLECTIONS, TRACKS
from loader.transform.refit import ClaimedDiscards, TargetColumn, pivot_values, refit_values
from loader.views.dimensions import split_dimensions
from loader.views.settings import read_settings

log = logging.getLogger(__name__)

#: Discarded values that one transaction claims.
BATCH_VALUES = 20_000

#: The table of which the stored figures of the views depend on all columns that they read.
MACHINE_OPENED = "email_machine_opened"

_CLAIM = """
    select ctid::text, original_timestamp, event_id, property, value, discard_id from discarded_values
    where reason = %s and table_name = %s and property = any(%s)
    order by original_timestamp, event_id
    limit %s for update
"""
_DELETE = "delete from discarded_values where ctid = any(%s::tid[])"
_CHANGE_REASON = "update discarded_values set reason = %s where ctid = any(%s::tid[])"
#: Runs once for each condition of `_SAME_TIME`: `=` uses the time-ordered index but does not match nulls. Incremental
#: readers get the chunks of these rows again.
_UPDATE = """
    with filled as (
        update {table} as event set {assignments}
        from unnest(%s::timestamptz[], %s::text[], {arrays}) as placed (original_timestamp, id, {names})
        where event.id = placed.id and {same_time}
        returning event.uuid_ts
    )

    insert into changed_chunks (uuid_ts) select distinct uuid_ts from filled
"""
_SAME_TIME = (
    "event.original_timestamp = placed.original_timestamp",
    "event.original_timestamp is null and placed.original_timestamp is null",
)


def backfill(
    warehouse: Warehouse, table: str, targets: Sequence[TargetColumn], times: TimeReading = DEFAULT_TIMES
) -> int:
    """Write `no_column` values into existing columns of a table, and return the number of values written.

    One transaction handles some events, with all their values. If a lock is not free, the rest stays `no_column`.
    Values that make a row too large become `no_room`. Values of events that have been deleted since are deleted too.
    Raises WarehouseError if the database fails.
    """
    placed, limit, claimed = 0, BATCH_VALUES, ClaimedDiscards([], 0)
    while targets:
        try:
            with warehouse.transaction(lock_timeout=advisory_locks.TABLE_TIMEOUT):
                claimed = (
                    claim_discards(warehouse, table, "no_column", targets, limit)
                    if _is_ours(warehouse)
                    else ClaimedDiscards([], 0)
                )
                if not claimed.rows:
                    break
                placed += resolve_discards(warehouse, table, targets, claimed, times)
            limit = BATCH_VALUES
        except ContentionError as exc:
            log.warning("values of %r are left for a later load: %s", table, exc)
            break
        except RefusedError as exc:
            if claimed.events == 1:
                _mark_no_room(warehouse, table, targets, exc)
            limit = max(claimed.events // 8, 1)
    return placed


def _is_ours(warehouse: Warehouse) -> bool:
    """Return whether this transaction got the lock that lets one process at a time backfill a source."""
    ((ours,),) = warehouse.fetch(
        "select pg_try_advisory_xact_lock(%s, hashtext(%s))", advisory_locks.FILL, warehouse.ops
    )
    return bool(ours)


def _mark_no_room(warehouse: Warehouse, table: str, targets: Sequence[TargetColumn], refusal: RefusedError) -> None:
    """Mark the first event's values `no_room`, because the row exceeds PostgreSQL's page size with them."""
    log.warning("values of an event of %r do not fit into its row: %s", table, refusal)
    with warehouse.transaction():
        _change_reason(
            warehouse, "no_room", [row[0] for row in claim_discards(warehouse, table, "no_column", targets, 1).rows]
        )


def claim_discards(
    warehouse: Warehouse, table: str, reason: str, targets: Sequence[TargetColumn], limit: int
) -> ClaimedDiscards:
    """Lock and return the values that were discarded for a reason, of at most `limit` events."""
    properties, size = [name for target in targets for name in target.properties], BATCH_VALUES
    while True:
        rows = warehouse.fetch(_CLAIM, reason, table, properties, size)
        events = [list(values) for _, values in groupby(rows, key=lambda row: row[1:3])]
        if len(rows) == size:
            events.pop()  # the last event may have values beyond the limit of the query
        if events or not rows:
            return ClaimedDiscards([row for values in events[:limit] for row in values], min(len(events), limit))
        size *= 4


def resolve_discards(
    warehouse: Warehouse,
    table: str,
    targets: Sequence[TargetColumn],
    claimed: ClaimedDiscards,
    times: TimeReading = DEFAULT_TIMES,
) -> int:
    """Write values that fit into their columns, and return how many; the others get the reason why they do not.

    Runs in the current transaction.
    """
    refitted = refit_values(targets, claimed, times)
    fitting = refitted.filter(pc.is_null(refitted["reason"]))
    numbered = list(enumerate(targets))
    _update(warehouse, table, numbered, fitting)
    _update(warehouse, TRACKS, [(n, target) for n, target in numbered if is_context(target.name)], fitting)
    warehouse.fetch(_DELETE, fitting["tid"].to_pylist())
    if fitting.num_rows and _are_figures_of(warehouse, table, targets):
        warehouse.fetch("delete from refreshed")
    for reason in ("misfit", "collision"):
        _change_reason(warehouse, reason, refitted.filter(pc.equal(refitted["reason"], reason))["tid"].to_pylist())
    return int(fitting.num_rows)


def _are_figures_of(warehouse: Warehouse, table: str, targets: Sequence[TargetColumn]) -> bool:
    """Return whether the stored figures of the views depend on columns, so that they have to be computed again."""
    if table == MACHINE_OPENED:
        return True
    settings = {row["name"]: row["value"] for row in read_settings(warehouse.fetch, warehouse.schema)}
    dimensions = split_dimensions(settings["dimensions"])
    return table in COLLECTIONS and any(target.name in dimensions for target in targets)


def _change_reason(warehouse: Warehouse, reason: str, tids: Sequence[str]) -> None:
    warehouse.fetch(_CHANGE_REASON, reason, list(tids))


def _update(warehouse: Warehouse, table: str, targets: Sequence[tuple[int, TargetColumn]], fitting: pa.Table) -> None:
    """Write values into the columns of a table, in the current transaction."""
    wanted = fitting.filter(pc.is_in(fitting["home"], pa.array([n for n, _ in targets], pa.int64())))
    if not wanted.num_rows:
        return
    used = set(wanted["home"].unique().to_pylist())
    filled = [(n, target) for n, target in targets if n in used]
    events = pivot_values(wanted, [n for n, _ in filled])
    keys = [events["original_timestamp"].cast(pa.string()), events["id"], *events.columns[2:]]
    statement = _UPDATE.format(
        table=warehouse.qualified(table),
        assignments=", ".join(
            f"{quote_identifier(target.name)} = coalesce(c{n}, event.{quote_identifier(target.name)})"
            for n, target in filled
        ),
        arrays=", ".join(f"%s::{target.kind}[]" for _, target in filled),
        names=", ".join(f"c{n}" for n, _ in filled),
        same_time="{same_time}",
    )
    for same_time in _SAME_TIME:
        warehouse.fetch(statement.format(same_time=same_time), *map(array_literal, keys))


#: Properties with waiting values that one load considers, those with the most values first. A sender can invent any
#: number of properties with one value each.
MAX_WAITING = 20_000
_WAITING = """
    select table_name, property from discarded_values where reason = 'no_column' group by 1, 2
    order by count(*) desc, 1, 2 limit %s
"""
#: The value of the earliest event for each property. Like the first value in a load, it decides the type.
_FIRST = """
    select distinct on (property) property, value from discarded_values
    where reason = 'no_column' and table_name = any(%s) and property = any(%s)
    order by property, original_timestamp, event_id, discard_id
"""


def backfill_waiting_columns(warehouse: Warehouse, options: Options) -> tuple[int, list[str]]:
    """Add missing columns within the limits, and write all `no_column` values into their columns.

    Times are read with the options of this load. Returns the number of values written and the statements that added
    columns. Values whose columns cannot be added now stay `no_column`; values that do not fit become `misfit`. Raises
    WarehouseError if the database fails.
    """
    with warehouse.transaction():
        waiting = sorted(warehouse.fetch(_WAITING, MAX_WAITING))
    if not waiting:
        return 0, []
    catalog = Catalog(warehouse, options.schema_limits)
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
        targets = [
            TargetColumn(c, kinds[c], names)
            for c, names in columns.items()
            if c in kinds and catalog.can_have_column(c)
        ]
        catalog.record(Name(table, name, target.name) for target in targets for name in target.properties)
        placed += backfill(warehouse, table, targets, options.times)
    return placed, catalog.statements


def _columns(properties: Sequence[str]) -> dict[str, list[str]]:
    """Return the properties of each column, first the one that is spelled like the column, the others sorted.

    >>> _columns(["A-b", "a.b", "a_b"])
    {'a_b': ['a_b', 'A-b', 'a.b']}
    """
    columns: dict[str, list[str]] = {}
    for name in properties:
        if column := column_identifier(name):
            columns.setdefault(column, []).append(name)
    return {column: sorted(names, key=lambda name: (name != column, name)) for column, names in columns.items()}


def _shared(wanted: Iterable[Mapping[str, Sequence[str]]]) -> dict[str, list[str]]:
    """Return the context columns, which `tracks` has too, with their properties in all tables."""
    shared: dict[str, list[str]] = {}
    for columns in wanted:
        for column, names in columns.items():
            if is_context(column):
                shared[column] = list(dict.fromkeys([*shared.get(column, ()), *names]))
    return shared


def _add(
    warehouse: Warehouse, catalog: Catalog, table: str, sources: Sequence[str], wanted: Mapping[str, Sequence[str]]
) -> None:
    """Add missing columns within the table's limit, with their fixed type, else that of the earliest value."""
    missing = catalog.columns_within_limit(table, sorted(wanted.keys() - catalog.columns(table).keys()))
    if not missing:
        return
    with warehouse.transaction():
        firsts = dict(warehouse.fetch(_FIRST, list(sources), [name for column in missing for name in wanted[column]]))
    kinds = {
        column: catalog.fixed_type(column)
        or values.column_type(next(firsts[name] for name in wanted[column] if name in firsts))
        for column in missing
        if any(name in firsts for name in wanted[column])
    }
    if kinds:
        catalog.add_columns(table, kinds)
