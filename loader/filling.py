"""Filling: discarded values → columns that can take them, each in the transaction in which its discard ends."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from loader import locks
from loader.errors import ContentionError, RefusedError
from loader.names import is_context, quoted
from loader.rows import array_literal
from loader.scratch import Scratch
from loader.tables import TRACKS
from loader.values import cast, quote
from loader.warehouse import Warehouse

log = logging.getLogger(__name__)

#: Values that are taken at a time.
BATCH = 20_000

#: Tables whose columns, beside the fixed ones, are in the views' figures, which have to be made anew then.
FIGURED = {"email_machine_opened"}

_TAKE = """
    select ctid::text, original_timestamp, event_id, property, value, discard_id from discarded_values
    where reason = %s and table_name = %s and property = any(%s)
    order by original_timestamp, event_id
    limit %s for update
"""
_TAKEN = pa.schema(
    [
        ("tid", pa.string()),
        ("original_timestamp", pa.timestamp("us", "UTC")),
        ("id", pa.string()),
        ("property", pa.string()),
        ("value", pa.string()),
        ("discard_id", pa.int64()),
    ]
)
_PLACED = "delete from discarded_values where ctid = any(%s::tid[])"
_TELL = "update discarded_values set reason = %s where ctid = any(%s::tid[])"
#: What becomes of each value: of those that meet in a column, the first fills it, as in a load.
_JUDGED = """
    with ranked as (
        select taken.*, home, kind, json_extract_string(value, '$') as text, row_number() over (
            partition by original_timestamp, id, home order by is_other, discard_id
        ) as place
        from taken join homes using (property)
    ), fitted as (
        select *, case kind {casts} end as fitting from ranked
    )
    select *, case when place > 1 then 'collision' when fitting is null then 'misfit' end as reason from fitted
"""
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


@dataclass(frozen=True, slots=True)
class Home:
    """A column that is there, its type, and the properties whose values go to it."""

    name: str
    kind: str
    properties: Sequence[str]


@dataclass(frozen=True, slots=True)
class Taken:
    """Rows of discarded values, locked, and the number of their events."""

    rows: Sequence[tuple[Any, ...]]
    events: int


def fill(warehouse: Warehouse, table: str, homes: Sequence[Home]) -> int:
    """Put what waits for columns that are there into them, and return the number of values placed.

    Some events at a time: a kill leaves each with all or none of its values. Locks that are not free leave the rest
    waiting; values with which the database refuses the row wait no longer. What was discarded of an event that
    somebody has deleted since ends too. Raises WarehouseError if the database fails.
    """
    placed, limit, taken = 0, BATCH, Taken([], 0)
    while homes:
        try:
            with warehouse.transaction(lock_timeout=locks.TABLE_TIMEOUT):
                taken = take(warehouse, table, "no_column", homes, limit) if _is_ours(warehouse) else Taken([], 0)
                if not taken.rows:
                    break
                placed += settle(warehouse, table, homes, taken)
            limit = BATCH
        except ContentionError as exc:
            log.warning("values of %r wait for a later load: %s", table, exc)
            break
        except RefusedError as exc:
            if taken.events == 1:
                _give_up(warehouse, table, homes, exc)
            limit = max(taken.events // 8, 1)
    return placed


def _is_ours(warehouse: Warehouse) -> bool:
    """Tell whether nobody else fills columns of this source now; nobody will until the transaction ends."""
    ((ours,),) = warehouse.fetch("select pg_try_advisory_xact_lock(%s, hashtext(%s))", locks.FILL, warehouse.ops)
    return bool(ours)


def _give_up(warehouse: Warehouse, table: str, homes: Sequence[Home], refusal: RefusedError) -> None:
    """Let the values of the first event wait no longer: the database refuses its row with them."""
    log.warning("values of an event of %r have no room in its row: %s", table, refusal)
    with warehouse.transaction():
        _tell(warehouse, "no_room", [row[0] for row in take(warehouse, table, "no_column", homes, 1).rows])


def take(warehouse: Warehouse, table: str, reason: str, homes: Sequence[Home], limit: int) -> Taken:
    """Lock and return the values that were discarded for a reason, of some events, `limit` at most."""
    properties, size = [name for home in homes for name in home.properties], BATCH
    while True:
        rows = warehouse.fetch(_TAKE, reason, table, properties, size)
        events = [list(values) for _, values in groupby(rows, key=lambda row: row[1:3])]
        if len(rows) == size:
            events.pop()  # it may have more values than these
        if events or not rows:
            return Taken([row for values in events[:limit] for row in values], min(len(events), limit))
        size *= 4


def settle(warehouse: Warehouse, table: str, homes: Sequence[Home], taken: Taken) -> int:
    """Put values into their columns, in the transaction at hand, and return how many; the others get a new reason."""
    judged = _judged(homes, taken)
    fitting = judged.filter(pc.is_null(judged["reason"]))
    numbered = list(enumerate(homes))
    _update(warehouse, table, numbered, fitting)
    _update(warehouse, TRACKS, [(n, home) for n, home in numbered if is_context(home.name)], fitting)
    warehouse.fetch(_PLACED, fitting["tid"].to_pylist())
    if table in FIGURED and fitting.num_rows:
        warehouse.fetch("delete from refreshed")
    for reason in ("misfit", "collision"):
        _tell(warehouse, reason, judged.filter(pc.equal(judged["reason"], reason))["tid"].to_pylist())
    return int(fitting.num_rows)


def _tell(warehouse: Warehouse, reason: str, tids: Sequence[str]) -> None:
    warehouse.fetch(_TELL, reason, list(tids))


def _judged(homes: Sequence[Home], taken: Taken) -> pa.Table:
    """Return the values with their home's number, and as text that fits it or with the reason why it does not."""
    scratch = Scratch()
    columns = [list(column) for column in zip(*taken.rows, strict=True)]
    scratch.register("taken", pa.table(columns, schema=_TAKEN))
    places = [(name, n, home.kind, name != home.name) for n, home in enumerate(homes) for name in home.properties]
    columns = [list(column) for column in zip(*places, strict=True)]
    scratch.register("homes", pa.table(columns, ["property", "home", "kind", "is_other"]))
    kinds = sorted({home.kind for home in homes})
    casts = " ".join(f"when {quote(kind)} then ({cast('text', kind)})::varchar" for kind in kinds)
    return scratch.arrow(_JUDGED.format(casts=casts))


def _update(warehouse: Warehouse, table: str, homes: Sequence[tuple[int, Home]], fitting: pa.Table) -> None:
    """Put values into the columns of a table."""
    wanted = fitting.filter(pc.is_in(fitting["home"], pa.array([n for n, _ in homes], pa.int64())))
    if not wanted.num_rows:
        return
    there = set(wanted["home"].unique().to_pylist())
    filled = [(n, home) for n, home in homes if n in there]
    events = _pivoted(wanted, [n for n, _ in filled])
    keys = [events["original_timestamp"].cast(pa.string()), events["id"], *events.columns[2:]]
    statement = _UPDATE.format(
        table=f"{quoted(warehouse.schema)}.{quoted(table)}",
        assignments=", ".join(f"{quoted(home.name)} = coalesce(c{n}, event.{quoted(home.name)})" for n, home in filled),
        arrays=", ".join(f"%s::{home.kind}[]" for _, home in filled),
        names=", ".join(f"c{n}" for n, _ in filled),
        same_time="{same_time}",
    )
    for same_time in _SAME_TIME:
        warehouse.fetch(statement.format(same_time=same_time), *map(array_literal, keys))


def _pivoted(fitting: pa.Table, homes: Sequence[int]) -> pa.Table:
    """Return one row an event: its key, then its value for each home."""
    scratch = Scratch()
    scratch.register("fitting", fitting)
    outputs = ", ".join(f"any_value(fitting) filter (home = {n})" for n in homes)
    return scratch.arrow(
        f"select original_timestamp, id, {outputs} from fitting group by all order by original_timestamp, id"
    )
