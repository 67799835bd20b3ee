"""Change a column whose type is too narrow to text, and write the values that did not fit into it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from loader.config import Settings
from loader.errors import SchemaError, UsageError
from loader.events.identifiers import column_identifier, is_context
from loader.events.values import TEXT, TIMESTAMPTZ
from loader.pipeline.backfill import BATCH_VALUES, claim_discards, resolve_discards
from loader.postgres import advisory_locks
from loader.postgres.connection import Warehouse, engine, operation
from loader.postgres.sqlstate import translate_errors
from loader.quoting import quote_identifier
from loader.schema.distribution import measure_event_tables
from loader.schema.event_tables import STANDARD, TRACKS
from loader.schema.introspection import read_event_columns
from loader.schema.source import open_warehouse
from loader.transform.refit import TargetColumn
from loader.views.definitions import read_grants, read_views

_WAITING = """
    select property, count(*) from discarded_values
    where table_name = any(%s) and reason = 'misfit' group by property order by property
"""
#: Times in the format of JavaScript's `toISOString`, which senders use, with microseconds only where needed.
_TIME = """
    to_char(
        {column} at time zone 'UTC',
        case when date_trunc('milliseconds', {column}) = {column} then 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'
            else 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"' end
    )
"""
#: Lets incremental readers read all rows of a table again, whose values have another type now.
_CHANGED = "insert into changed_chunks (uuid_ts) select distinct uuid_ts from {schema}.{table}"


@dataclass(frozen=True, slots=True)
class WideningPlan:
    """What widening a column changes."""

    column: str
    #: Its current type.
    kind: str
    #: The tables to change: a context column has the same type in all tables.
    tables: Sequence[str]
    #: The size of these tables in bytes, with indexes, and the planner's estimate of their rows.
    size: int
    rows: int
    #: Properties whose values go to the column, and how many values were discarded as `misfit`.
    properties: Sequence[str]
    values: int
    #: Dependent views: those of the loader are recreated, all others (`foreign`) prevent the change.
    views: Sequence[str]
    foreign: Sequence[str]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def plan_widening(settings: Settings, warehouse: Warehouse, table: str, column: str) -> WideningPlan:
    """Return what changing a column to text would do.

    Raises UsageError for a column that does not exist, is text already, or is one of Segment's standard columns.
    """
    with warehouse.transaction():
        kinds = {name: columns.get(column) for name, columns in read_event_columns(warehouse).items()}
        _check(warehouse.schema, table, column, kinds.get(table))
        tables = [
            name for name, kind in kinds.items() if kind not in (None, TEXT) and (name == table or is_context(column))
        ]
        dependent = warehouse.fetch(
            operation("dependent_views"), column_name=column, tables=tables, schema=quote_identifier(warehouse.schema)
        )
        waiting = {p: count for p, count in warehouse.fetch(_WAITING, tables) if column_identifier(p) == column}
        rewritten = [found for found in measure_event_tables(warehouse) if found.name in tables]
    ours = {(view.schema, view.name) for view in read_views(settings)}
    return WideningPlan(
        column,
        str(kinds[table]),
        tables,
        sum(found.total_bytes for found in rewritten),
        sum(found.estimated_rows for found in rewritten),
        list(waiting),
        sum(waiting.values()),
        [".".join(view) for view in dependent if view in ours],
        [".".join(view) for view in dependent if view not in ours],
    )


def _check(schema: str, table: str, column: str, kind: str | None) -> None:
    if kind is None:
        raise UsageError(
            f"column {column!r} of event table {table!r} does not exist in schema {schema!r}; check the names"
        )
    if column in STANDARD:
        raise UsageError(f"column {column!r} is one of Segment's standard columns; its type cannot be changed")
    if kind == TEXT:
        raise UsageError(f"column {column!r} of {table!r} is text already; it needs no widening")


def widen_column(settings: Settings, plan: WideningPlan) -> int:
    """Change a column to text and write the values that did not fit, in one transaction; return their number.

    Raises SchemaError if other views depend on it, ContentionError if another transaction holds a lock on a table.
    """
    if plan.foreign:
        raise SchemaError(
            f"views that are not the loader's depend on column {plan.column!r}: {', '.join(plan.foreign)}; "
            "drop them, widen the column, and create them again"
        )
    with translate_errors(), engine(settings.database_url).connect() as connection:
        views = [view for view in read_views(settings, connection) if f"{view.schema}.{view.name}" in plan.views]
        grants = read_grants(connection, views)
    with open_warehouse(settings) as warehouse, warehouse.transaction(lock_timeout=advisory_locks.TABLE_TIMEOUT):
        for view in reversed(views):
            warehouse.run(f"drop view {view.place}")
        for table in plan.tables:
            warehouse.run(_alter_type(settings.schema, table, plan))
            warehouse.run(_CHANGED.format(schema=quote_identifier(settings.schema), table=quote_identifier(table)))
        filled = sum(_fill(warehouse, table, plan) for table in plan.tables if table != TRACKS)
        for script in (*(view.script for view in views), *grants):
            warehouse.run(script)
    return filled


def _alter_type(schema: str, table: str, plan: WideningPlan) -> str:
    """Return the DDL that changes a column to text: times in ISO 8601, other values as PostgreSQL prints them."""
    column = quote_identifier(plan.column)
    text = _TIME.format(column=column) if plan.kind == TIMESTAMPTZ else f"{column}::text"
    return (
        f"alter table {quote_identifier(schema)}.{quote_identifier(table)} alter column {column} type text using {text}"
    )


def _fill(warehouse: Warehouse, table: str, plan: WideningPlan) -> int:
    targets, filled = [TargetColumn(plan.column, TEXT, plan.properties)], 0
    while plan.properties and (claimed := claim_discards(warehouse, table, "misfit", targets, BATCH_VALUES)).rows:
        filled += resolve_discards(warehouse, table, targets, claimed)
    return filled
