"""Query PostgreSQL's catalog for event tables, columns and comments. No other module queries it for columns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loader.postgres.connection import Warehouse
from loader.quoting import quote_identifier

if TYPE_CHECKING:
    from sqlalchemy import Connection

#: Types by column name, by table name.
Columns = Mapping[str, Mapping[str, str]]

#: Event tables are those with the column `uuid_ts`.
_EVENT_TABLES = """
    select relname, pg_relation_size(oid), pg_relation_size(oid) / current_setting('block_size')::bigint,
        pg_total_relation_size(oid), greatest(reltuples, 0)::bigint
    from pg_class
    where relnamespace = to_regnamespace(%s) and relkind in ('r', 'p') and exists (
        select from pg_attribute where attrelid = pg_class.oid and attname = 'uuid_ts' and not attisdropped
    )
    order by relname
"""
_TABLE_COLUMNS = """
    select relname, attname, format_type(atttypid, null)
    from pg_class
    join pg_attribute on attrelid = pg_class.oid
    where relnamespace = to_regnamespace(%s) and relkind in ('r', 'p') and attnum > 0 and not attisdropped
        and relname = any(coalesce(%s, array[relname]))
    order by relname, attnum
"""
_VIEW_COLUMNS = """
    select relname, attname, format_type(atttypid, null)
    from pg_class
    join pg_attribute on attrelid = pg_class.oid
    where relnamespace = to_regnamespace(%s) and relkind = 'v' and attnum > 0 and not attisdropped
    order by relname, attnum
"""
#: Columns of the relations in several schemas that the current role may read.
_READABLE_COLUMNS = """
    select nspname, relname, attname, format_type(atttypid, null)
    from pg_class
    join pg_namespace on pg_namespace.oid = relnamespace
    join pg_attribute on attrelid = pg_class.oid
    where nspname = any(%s) and relkind in ('r', 'p', 'v', 'm', 'f') and attnum > 0 and not attisdropped
        and has_schema_privilege(nspname, 'usage') and has_table_privilege(pg_class.oid, 'select')
    order by nspname, relname, attnum
"""
_COMMENTS = """
    select relname, relkind = 'v', obj_description(pg_class.oid, 'pg_class'), attname,
        format_type(atttypid, atttypmod), col_description(pg_class.oid, attnum)
    from pg_class
    join pg_attribute on attrelid = pg_class.oid
    where relnamespace = (select oid from pg_namespace where nspname = %s) and relkind in ('r', 'p', 'v')
        and attnum > 0 and not attisdropped
    order by relkind <> 'v', relname, attnum
"""


@dataclass(frozen=True, slots=True)
class EventTable:
    """An event table: size of the heap in bytes and pages, in bytes with indexes and TOAST, and estimated rows.

    A distributed table has no pages of its own.
    """

    name: str
    heap_bytes: int
    pages: int
    total_bytes: int
    estimated_rows: int
    is_distributed: bool = False


def read_event_tables(warehouse: Warehouse) -> list[EventTable]:
    """Return the event tables, including `tracks`, in the current transaction, as this server stores them."""
    return [EventTable(*row) for row in warehouse.fetch(_EVENT_TABLES, quote_identifier(warehouse.schema))]


def read_columns(warehouse: Warehouse, tables: Sequence[str] | None = None) -> Columns:
    """Return the columns of all tables of a source's schema, or of those named, in the current transaction."""
    columns: dict[str, dict[str, str]] = {}
    names = None if tables is None else list(tables)
    for table, column, kind in warehouse.fetch(_TABLE_COLUMNS, quote_identifier(warehouse.schema), names):
        columns.setdefault(table, {})[column] = kind
    return columns


def read_event_columns(warehouse: Warehouse) -> Columns:
    """Return the columns of the event tables, in the current transaction."""
    return {table: columns for table, columns in read_columns(warehouse).items() if "uuid_ts" in columns}


def read_view_columns(warehouse: Warehouse) -> Columns:
    """Return the columns of all views of a source's schema, in the current transaction."""
    columns: dict[str, dict[str, str]] = {}
    for view, column, kind in warehouse.fetch(_VIEW_COLUMNS, quote_identifier(warehouse.schema)):
        columns.setdefault(view, {})[column] = kind
    return columns


def read_readable_columns(connection: "Connection", schemas: Sequence[str]) -> Mapping[tuple[str, str], dict[str, str]]:
    """Return the columns of the relations that the current role may read, by schema and relation name."""
    columns: dict[tuple[str, str], dict[str, str]] = {}
    for schema, name, column, kind in connection.exec_driver_sql(_READABLE_COLUMNS, (list(schemas),)):
        columns.setdefault((schema, name), {})[column] = kind
    return columns


def read_comments(warehouse: Warehouse) -> list[tuple[Any, ...]]:
    """Return (relation, is a view, its comment, column, type, column comment) for each column of tables and views."""
    return warehouse.fetch(_COMMENTS, warehouse.schema)
