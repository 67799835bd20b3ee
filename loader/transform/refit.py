"""?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from loader.duckdb import Session, cast_sql
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


@dataclass(frozen=True, slots=True)
class TargetColumn:
    """A column that is there, its type, and the properties whose values go to it."""

    name: str
    kind: str
    properties: Sequence[str]


@dataclass(frozen=True, slots=True)
class ClaimedDiscards:
    """Rows of discarded values, locked, and the number of their events."""

    rows: Sequence[tuple[Any, ...]]
    events: int


def refit_values(homes: Sequence[TargetColumn], taken: ClaimedDiscards) -> pa.Table:
    """Return the values with their home's number, and as text that fits it or with the reason why it does not."""
    session = Session()
    columns = [list(column) for column in zip(*taken.rows, strict=True)]
    session.register("taken", pa.table(columns, schema=_TAKEN))
    places = [(name, n, home.kind, name != home.name) for n, home in enumerate(homes) for name in home.properties]
    columns = [list(column) for column in zip(*places, strict=True)]
    session.register("homes", pa.table(columns, ["property", "home", "kind", "is_other"]))
    kinds = sorted({home.kind for home in homes})
    casts = " ".join(f"when {quote_literal(kind)} then ({cast_sql('text', kind)})::varchar" for kind in kinds)
    return session.arrow(_JUDGED.format(casts=casts))


def pivot_values(fitting: pa.Table, homes: Sequence[int]) -> pa.Table:
    """Return one row an event: its key, then its value for each home."""
    session = Session()
    session.register("fitting", fitting)
    outputs = ", ".join(f"any_value(fitting) filter (home = {n})" for n in homes)
    return session.arrow(
        f"select original_timestamp, id, {outputs} from fitting group by all order by original_timestamp, id"
    )
