"""Define views with fixed columns on the site's tables, whose columns vary and which may not exist."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from loader.quoting import quote_identifier, quote_literal
from loader.schema.event_tables import MAILING, STANDARD
from loader.schema.introspection import read_readable_columns
from loader.views.dimensions import select_dimensions, split_dimensions
from loader.views.settings import read_settings
from loader.views.site_tables import Table


@dataclass(frozen=True, slots=True)
class Adapter:
    """A view: its grain, its columns with their comments, and whether it belongs to the ops schema."""

    name: str
    grain: str
    columns: Mapping[str, str]
    is_internal: bool = False


SITE_EVENTS = Adapter(
    "site_events",
    "One row per page, screen or track call on the site",
    {
        "schema_name": "The schema of the site's data",
        "id": "Id of the event in that schema",
        "user_id": "The visitor's user id",
        "anonymous_id": "The visitor's anonymous id",
        "event": "page, screen, or the event's name",
        "timestamp": "When it happened",
        "url": "Address of the page",
        "path": "Path of the page",
    },
)
CONVERSIONS = Adapter(
    "conversions",
    "One row per conversion on the site, without refunds",
    {
        "schema_name": "The schema of the site's data",
        "event": "The table of the conversion in that schema",
        "id": "Id of the conversion in that schema",
        "order_id": "The order; of several conversions with the same one, the earliest is kept. Null if blank",
        "user_id": "The visitor's user id",
        "anonymous_id": "The visitor's anonymous id",
        "timestamp": "When it happened",
        "revenue": "Its revenue; null if it cannot be read",
        "currency": "Currency of the revenue, in upper case",
    },
)
#: What the refresh reads of a table beside its rows: whose it is, and when each row was recorded.
_RECORDED = {
    "table_name": "The table there",
    "recorded_at": "When the site's warehouse got the row",
    "recorded_day": "That day in days from 1970, 32767 if it is unknown",
}
SITE_VISITS = Adapter(
    "site_visits",
    "One row per page, screen or track call as far back as the refresh reads",
    dict.fromkeys(("schema_name", "user_id", "anonymous_id", "timestamp"), "") | _RECORDED,
    is_internal=True,
)
SITE_CONVERSIONS = Adapter(
    "site_conversions",
    "One row per conversion or refund, repeated ones included, as far back as the refresh reads",
    {**CONVERSIONS.columns, **_RECORDED, "unread": "Revenue that cannot be read", "is_refund": ""},
    is_internal=True,
)
SITE_IDENTIFIES = Adapter(
    "site_identifies",
    "One row per identification on the site, as far back as the refresh reads",
    dict.fromkeys(("user_id", "anonymous_id", "email", "timestamp", "schema_name"), "") | _RECORDED,
    is_internal=True,
)
MACHINE_OPENS = Adapter(
    "machine_opens",
    "One row per open that the sender reported as a machine's",
    dict.fromkeys((*STANDARD, *MAILING, "dimensions"), ""),
    is_internal=True,
)
SITE_RATES = Adapter(
    "site_rates",
    "One row per day and currency: the exchange rate to the reporting currency",
    dict.fromkeys(("day", "currency", "rate"), ""),
    is_internal=True,
)
#: Names of the views on the site's tables.
SITE_VIEWS = {
    view.name for view in (SITE_EVENTS, CONVERSIONS, SITE_VISITS, SITE_CONVERSIONS, SITE_IDENTIFIES, SITE_RATES)
}
#: Columns that are not text.
_TYPES = dict.fromkeys(
    ("timestamp", "original_timestamp", "sent_at", "received_at", "uuid_ts", "recorded_at"), "timestamptz"
)
_TYPES |= {"revenue": "numeric", "recorded_day": "smallint", "is_refund": "boolean", "rate": "numeric", "day": "date"}
#: SQL for the day on which a row was recorded, within the range of smallint.
_DAY = """case
            when isfinite({at})
                then least(greatest(({at} at time zone 'UTC')::date - date '1970-01-01', -32768), 32767)
            else 32767
        end"""
#: Restricts a table to rows that the refresh has not read, or reads again.
_UNREAD = """
    where {at} is null or {at} >= coalesce(
        (
            select read_from from stored_sources
            where kind = {kind} and schema_name = {schema} and table_name = {table}
        ),
        '-infinity'
    )"""
#: SQL for columns of an adapter, and the table that they are from.
Found = tuple[Mapping[str, str], "Table"]
#: Of several conversions with one key the first by these columns is kept.
_FIRST = '"timestamp", schema_name, event, id, revenue, currency, user_id, anonymous_id'
#: The key of a conversion, by which duplicates are removed. A conversion without it has no duplicates.
_ORDER = "coalesce(order_id, schema_name || '/' || event || '/' || nullif(id, ''))"


def adapters(schema: str, connection: Connection | None) -> list[tuple[Adapter, str]]:
    """Return the adapters, each with the SQL that creates it.

    Missing columns become null. Without its tables, or without a connection, a view is empty.
    """
    known: dict[str, str] = {}
    tables: list[Table] = []
    if connection:
        known = {row["name"]: row["value"] for row in read_settings(connection.exec_driver_sql, schema)}
    sites, rates = known.get("segment_schemas", "").split(), known.get("exchange_rates", "").strip().partition(".")
    if connection:
        schemas = [schema, *sites, rates[0]]
        tables = [Table(*name, columns) for name, columns in read_readable_columns(connection, schemas).items()]
    site_tables = [table for table in tables if table.schema in sites]
    conversions = list(_conversions(site_tables, known))
    rate_tables = [table for table in tables if (table.schema, table.name) == (rates[0], rates[2])]
    orders = (
        _select(CONVERSIONS, values, table) + f"\n    where not {values['is_refund']}" for values, table in conversions
    )
    return [
        (SITE_EVENTS, _view(SITE_EVENTS, (_select(SITE_EVENTS, *found) for found in _visits(site_tables)))),
        (CONVERSIONS, _view(CONVERSIONS, orders, once=_ORDER)),
        (SITE_VISITS, _view(SITE_VISITS, (_unread(SITE_VISITS, "visits", *row) for row in _visits(site_tables)))),
        (
            SITE_CONVERSIONS,
            _view(SITE_CONVERSIONS, (_unread(SITE_CONVERSIONS, "conversions", *c) for c in conversions)),
        ),
        (
            SITE_IDENTIFIES,
            _view(SITE_IDENTIFIES, (_unread(SITE_IDENTIFIES, "identifications", *i) for i in _identifies(site_tables))),
        ),
        (SITE_RATES, _view(SITE_RATES, (_select(SITE_RATES, *found) for found in _rates(rate_tables)))),
        (MACHINE_OPENS, _view(MACHINE_OPENS, _machine_opens([t for t in tables if t.schema == schema], known))),
    ]


def _visits(tables: Iterable[Table]) -> Iterator[Found]:
    for table in tables:
        if table.name in {"pages", "screens", "tracks"} and "id" in table.columns:
            event = quote_literal(table.name[:-1])
            if table.name == "tracks":
                event = f"coalesce({table.text('event_text')}, {table.text('event')})"
            yield (
                {
                    **_who(table),
                    "event": event,
                    "timestamp": table.moment("timestamp", "received_at"),
                    "url": table.text("url", "context_page_url"),
                    "path": table.text("path", "context_page_path"),
                },
                table,
            )


#: Columns of an order's amount, the most usual first.
_AMOUNTS = ("total", "revenue", "value")


def _conversions(tables: Sequence[Table], settings: Mapping[str, str]) -> Iterator[Found]:
    """Yield the tables of conversions and of refunds.

    A refund's columns are those that the setting names, else those of the first conversion; its revenue is negative. A
    table without the named column of revenue has it in another one of Segment's specification of e-commerce events.
    """
    conversions = [_columns(kind) for kind in settings.get("conversion_events", "").split()]
    usual = conversions[0][1:] if conversions else ("revenue", "currency", "order_id")
    refunds = [_columns(kind) for kind in settings.get("refund_events", "").split()]
    names = {name for name, *_ in refunds}
    kinds = [(kind, (kind[1], *_AMOUNTS) if kind[1] else (), False) for kind in conversions if kind[0] not in names]
    for name, *own in refunds:
        revenue, currency, order_id = (given or other for given, other in zip(own, usual, strict=True))
        kinds.append(((name, revenue, currency, order_id), (revenue, *_AMOUNTS), True))
    for (name, _, currency, order_id), amounts, is_refund in kinds:
        for table in tables:
            if table.name == name and "id" in table.columns:
                revenue = table.amount(*amounts)
                yield (
                    {
                        **_who(table),
                        "event": quote_literal(name),
                        "order_id": table.identifier(order_id),
                        "timestamp": table.moment("timestamp", "received_at"),
                        "revenue": f"-abs({revenue})" if is_refund else revenue,
                        "currency": table.currency(currency, *amounts),
                        "unread": table.unread_amount(*amounts, is_needed=is_refund),
                        "is_refund": "true" if is_refund else f"coalesce({revenue} < 0, false)",
                    },
                    table,
                )


def _columns(kind: str) -> tuple[str, str, str, str]:
    """Return a table and its columns of revenue, currency and order id from a setting; empty if not named."""
    name, revenue, currency, order_id = [*kind.split(":"), "", "", ""][:4]
    return name, revenue, currency, order_id


def _rates(tables: Iterable[Table]) -> Iterator[Found]:
    for table in tables:
        currency = f"read_currency({table.text('currency')})"
        yield {"day": table.day("date"), "currency": currency, "rate": table.amount("rate")}, table


def _identifies(tables: Iterable[Table]) -> Iterator[Found]:
    for table in tables:
        email = table.address("email", "traits_email", "context_traits_email")
        values = {**_who(table), "email": email, "timestamp": table.moment("timestamp", "received_at")}
        if table.name == "identifies":
            yield values, table
        elif table.name == "users":
            yield values | {"user_id": table.identifier("id"), "anonymous_id": "null"}, table


def _machine_opens(tables: Iterable[Table], settings: Mapping[str, str]) -> Iterator[str]:
    names = split_dimensions(settings.get("dimensions", ""))
    for table in tables:
        if table.name == "email_machine_opened":
            values = {n: table.moment(n) if n in _TYPES else table.text(n) for n in MACHINE_OPENS.columns}
            values["dimensions"] = select_dimensions(table, names)
            yield _select(MACHINE_OPENS, values, table)


def _who(table: Table) -> dict[str, str]:
    return {
        "schema_name": quote_literal(table.schema),
        "id": table.text("id"),
        "user_id": table.identifier("user_id"),
        "anonymous_id": table.identifier("anonymous_id"),
    }


def _unread(adapter: Adapter, kind: str, values: Mapping[str, str], table: Table) -> str:
    """Return SQL for what the refresh reads of a table: rows later than its cursor, less the look-back."""
    at = table.moment("uuid_ts", "received_at", "timestamp")
    values = {
        **values,
        "table_name": quote_literal(table.name),
        "recorded_at": at,
        "recorded_day": _DAY.format(at=at) if at != "null" else "32767",
    }
    literals = {"kind": kind, "schema": table.schema, "table": table.name}
    select = _select(adapter, values, table)
    if at != "null":
        select += _UNREAD.format(at=at, **{key: quote_literal(value) for key, value in literals.items()})
    return select


def _select(adapter: Adapter, values: Mapping[str, str], table: Table) -> str:
    """Return SQL that selects an adapter's columns from one table."""
    return _cells(adapter, values) + f"\n    from {table.source}"


def _cells(adapter: Adapter, values: Mapping[str, str]) -> str:
    cells = (
        f"({values.get(name, 'null')})::{_TYPES.get(name, 'text')} as {quote_identifier(name)}"
        for name in adapter.columns
    )
    return "    select\n        " + ",\n        ".join(cells)


def _view(adapter: Adapter, selects: Iterable[str], once: str = "") -> str:
    """Return SQL that creates a view with comments. It keeps the earliest of the rows with the same value of `once`."""
    name, columns = adapter.name, ",\n    ".join(map(quote_identifier, adapter.columns))
    found = "\n    union all\n".join(selects) or _cells(adapter, {}) + "\n    where false"
    if once:
        place = f"row_number() over (partition by {once} order by {_FIRST}) as place"
        found += f"\n),\n\nordered as (\n    select\n        found.*,\n        {place}\n    from found"
    rows = f"ordered\nwhere place = 1 or {once} is null" if once else "found"
    comments = [f"comment on view {name} is {quote_literal(adapter.grain)};"]
    comments += [
        f"comment on column {name}.{quote_identifier(column)} is {quote_literal(meaning)};"
        for column, meaning in adapter.columns.items()
        if meaning
    ]
    return (
        f"create or replace view {name} as\nwith found as (\n{found}\n)\n\n"
        f"select\n    {columns}\nfrom {rows};\n\n" + "\n".join(comments)
    )
