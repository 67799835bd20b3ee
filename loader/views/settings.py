"""Read and change the settings of the views, which are stored in the database."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from loader.errors import UsageError, WarehouseError
from loader.events.times import DEFAULT_TIMES
from loader.postgres.connection import Warehouse
from loader.quoting import quote_identifier

#: A function that runs a statement and returns its rows.
Fetch = Callable[[str], Iterable[Sequence[Any]]]

#: Number of relations in a schema, and of those that the current role may read; no row if the schema does not exist.
_READABLE = """
    select count(pg_class.oid), count(pg_class.oid) filter (
        where has_schema_privilege(pg_namespace.oid, 'usage') and has_table_privilege(pg_class.oid, 'select')
    )
    from pg_namespace left join pg_class on relnamespace = pg_namespace.oid and relkind in ('r', 'p', 'v', 'm', 'f')
    where nspname = %s
    group by pg_namespace.oid
"""
#: How the views cast settings, by prefix or suffix of their names. A value that the query rejects is invalid.
_READ: Mapping[str, str] = {
    "_seconds": "select %s::numeric",
    "_links": "select %s::int",
    "_agents": "select '' ~* %s",
    "window": "select %s::interval",
    "_window": "select %s::interval",
    "look_back": "select now() - %s::interval",
    "reporting_time_zone": "select now() at time zone %s",
    "max_person_share": "select %s::numeric",
}
#: One of the properties that the setting `dimensions` names.
DIMENSION = r"[^\s,]+"
#: Columns of views that dimensions are added to, without these.
_TAKEN = """
    select distinct attname from pg_attribute
    where attrelid = any(array[{views}]::regclass[]) and attnum > 0
        and right(col_description(attrelid, attnum), 22) is distinct from 'the setting dimensions'
"""
_DIMENSION_VIEWS = ("email_events", "email_messages", "campaign_days")
#: Columns of a table of exchange rates.
_RATE_COLUMNS = {"date", "currency", "rate"}
_COLUMNS = """
    select attname from pg_attribute
    where attrelid = to_regclass(%s) and attnum > 0 and not attisdropped
        and has_schema_privilege((select relnamespace from pg_class where oid = attrelid), 'usage')
        and has_table_privilege(attrelid, 'select')
"""


def read_settings(fetch: Fetch, schema: str) -> list[dict[str, Any]]:
    """Return the name, value and description of all settings, in order of name."""
    rows = fetch(f"select name, value, description from {quote_identifier(schema)}.settings order by name")
    return [dict(zip(("name", "value", "description"), row, strict=True)) for row in rows]


def read_max_clock_skew(warehouse: Warehouse) -> timedelta | None:
    """Return how far the clocks of sender and receiver may differ, in the current transaction; None if it is off.

    A warehouse without the setting has its default.
    """
    query = "select nullif(value, 'off')::interval from {}.settings where name = 'max_clock_skew'"
    found = warehouse.fetch(query.format(quote_identifier(warehouse.schema)))
    return found[0][0] if found else DEFAULT_TIMES.max_skew


def change_setting(warehouse: Warehouse, name: str, value: str) -> None:
    """Change a setting.

    Raises UsageError for an unknown name, and for a value that is invalid for it.
    """
    known = [row["name"] for row in read_settings(warehouse.fetch, warehouse.schema)]
    if name not in known:
        raise UsageError(f"there is no setting {name!r}; there are {', '.join(known)}")
    if name == "default_model" and f"window_{value}" not in known:
        models = ", ".join(other.removeprefix("window_") for other in known if other.startswith("window_"))
        raise UsageError(f"there is no model {value!r}; choose one of {models}")
    _check(warehouse, name, value)
    statement = f"update {quote_identifier(warehouse.schema)}.settings set value = %s where name = %s returning name"
    warehouse.fetch(statement, value, name)


def _check(warehouse: Warehouse, name: str, value: str) -> None:
    """Raise UsageError if a value is invalid: the database must be able to cast it as the views do."""
    if name == "segment_schemas":
        for schema in value.split():
            _check_schema(warehouse, schema)
        return
    if name == "max_clock_skew" and value != "off":
        _check_positive(warehouse, name, value)
        return
    if name == "conversion_events" and not re.fullmatch(r"(\S+:\S+\s*)*", value):
        raise UsageError(
            f"{value!r} is invalid for {name!r}; write table:revenue or table:revenue:currency:order_id for each table"
        )
    if name == "refund_events" and not re.fullmatch(r"([^\s:]+(:[^\s:]*){0,3}\s*)*", value):
        raise UsageError(
            f"{value!r} is invalid for {name!r}; write table, or table:revenue:currency:order_id, for each table"
        )
    if name == "reporting_currency" and len(value.split()) > 1:
        raise UsageError(f"{value!r} is invalid for {name!r}; write one currency, or '' for the most frequent one")
    if name == "dimensions":
        _check_dimensions(warehouse, value)
        return
    if name == "exchange_rates" and value.strip():
        _check_rates(warehouse, value.strip())
    try:
        for prefix, query in _READ.items():
            if name.endswith(prefix) or name.startswith(prefix):
                warehouse.fetch(query, value)
    except WarehouseError as exc:
        raise UsageError(f"{value!r} is invalid for {name!r}: {exc}") from exc


def _check_positive(warehouse: Warehouse, name: str, value: str) -> None:
    try:
        ((is_valid,),) = warehouse.fetch("select %s::interval > interval '0'", value)
    except WarehouseError:
        is_valid = False
    if not is_valid:
        raise UsageError(f"{value!r} is invalid for {name!r}; write an interval such as '1 day', or off")


def _check_schema(warehouse: Warehouse, schema: str) -> None:
    found = warehouse.fetch(_READABLE, schema)
    if not found:
        raise UsageError(f"there is no schema {schema!r} in the database; `\\dn` in psql lists them")
    ((tables, readable),) = found
    if tables and not readable:
        raise UsageError(f"no table of schema {schema!r} can be read; ask its owner to grant usage and select on it")


def _check_dimensions(warehouse: Warehouse, value: str) -> None:
    names = re.findall(DIMENSION, value)
    schema = quote_identifier(warehouse.schema).replace("'", "''")
    views = ", ".join(f"'{schema}.{view}'" for view in _DIMENSION_VIEWS)
    taken = {name for (name,) in warehouse.fetch(_TAKEN.format(views=views))}
    for name in names:
        if name in taken or names.count(name) > 1 or not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", name):
            raise UsageError(
                f"{name!r} is invalid for 'dimensions'; name columns of the event tables, such as audience_language, "
                "each once and none that the views have already, separated by commas"
            )


def _check_rates(warehouse: Warehouse, table: str) -> None:
    schema, _, name = table.partition(".")
    place = f"{quote_identifier(schema)}.{quote_identifier(name)}"
    if missing := _RATE_COLUMNS - {column for (column,) in warehouse.fetch(_COLUMNS, place)}:
        raise UsageError(
            f"{table!r} is invalid for 'exchange_rates': no readable table schema.table with "
            f"{', '.join(sorted(missing))}; it needs date, currency and rate"
        )
