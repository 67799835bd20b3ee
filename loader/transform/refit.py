"""Refit discarded values into columns that can now take them, with DuckDB."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from loader.duckdb import Session, cast_sql
from loader.events.times import TimeReading
from loader.quoting import quote_literal

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
#: The outcome of each value. Of several values for one column of an event, the first fills it, as in a load.
_JUDGED = """
    with ranked as (
        select taken.*, home, kind,
            case when value like '"%' then json_extract_string(value, '$') else value end as text,
            row_number() over (
                partition by original_timestamp, id, home order by is_other, discard_id
            ) as place
        from taken join homes using (property)
    ), fitted as (
        select *, case kind {casts} end as fitting from ranked
    )
    select *, case when place > 1 then 'collision' when fitting is null then 'misfit' end as reason from fitted
"""


@dataclass(frozen=True, slots=True)
class TargetColumn:
    """An existing column, its type, and the properties whose values belong in it."""

    name: str
    kind: str
    properties: Sequence[str]


@dataclass(frozen=True, slots=True)
class ClaimedDiscards:
    """Locked rows of `discarded_values`, and the number of events they belong to."""

    rows: Sequence[tuple[Any, ...]]
    events: int


def refit_values(targets: Sequence[TargetColumn], claimed: ClaimedDiscards, times: TimeReading) -> pa.Table:
    """Return the claimed values with the index of their target (`home`), and what fits as text (`fitting`).

    `reason` is null for a value that fills its column, else `collision` or `misfit`.
    """
    session = Session(times)
    columns = [list(column) for column in zip(*claimed.rows, strict=True)]
    session.register("taken", pa.table(columns, schema=_TAKEN))
    rows = [
        (name, n, target.kind, name != target.name) for n, target in enumerate(targets) for name in target.properties
    ]
    columns = [list(column) for column in zip(*rows, strict=True)]
    session.register("homes", pa.table(columns, ["property", "home", "kind", "is_other"]))
    kinds = sorted({target.kind for target in targets})
    casts = " ".join(f"when {quote_literal(kind)} then ({cast_sql('text', kind)})::varchar" for kind in kinds)
    return session.arrow(_JUDGED.format(casts=casts))


def pivot_values(fitting: pa.Table, targets: Sequence[int]) -> pa.Table:
    """Return one row per event: its key, then its value for each target, by index."""
    session = Session()
    session.register("fitting", fitting)
    # A filter for each value would take memory for all of them, so it would grow with the square of their number.
    outputs = ", ".join(f"any_value(case when home = {n} then fitting end)" for n in targets)
    return session.arrow(
        f"select original_timestamp, id, {outputs} from fitting group by all order by original_timestamp, id"
    )
