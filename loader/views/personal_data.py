"""Which columns have personal data, and the privileges of a role that may see the rest only."""

from collections.abc import Iterable, Sequence

from loader.config import Settings
from loader.postgres.connection import Warehouse
from loader.quoting import quote_identifier
from loader.schema.event_tables import STANDARD, TEXT_PROPERTIES
from loader.schema.introspection import read_event_columns, read_view_columns
from loader.views.definitions import read_views
from loader.views.site import SITE_VIEWS

#: Columns that name a person or a device, in tables and in views, or may do so in their texts.
PERSONAL_COLUMNS = frozenset(
    {"user_id", "anonymous_id", "email", "person", "order_id", "context_ip", "context_user_agent"}
    | {"context_traits_email", "link_url", "email_subject"}
)


def read_personal_properties(warehouse: Warehouse) -> list[str]:
    """Return the columns in the setting `personal_properties`, in the current transaction."""
    schema = quote_identifier(warehouse.schema)
    rows = warehouse.fetch(f"select value from {schema}.settings where name = 'personal_properties'")
    return [name for (value,) in rows for part in value.split(",") if (name := part.strip())]


def grant_without_personal_data(warehouse: Warehouse, settings: Settings, roles: Sequence[str]) -> None:
    """Let roles read the views, and the documented columns of event tables, without personal data.

    Privileges on whole tables and views are revoked from them, also on those that are created later. Of the tables,
    only columns are granted of which it is known what they hold. Raises WarehouseError for a role that does not exist.
    """
    schema = quote_identifier(warehouse.schema)
    shown = {view.name for view in read_views(settings) if view.schema == warehouse.schema and not view.is_function}
    with warehouse.transaction():
        hidden = PERSONAL_COLUMNS.union(read_personal_properties(warehouse))
        views = {name: set(columns) for name, columns in read_view_columns(warehouse).items() if name in shown}
        known = {*STANDARD, *TEXT_PROPERTIES}
        tables = {name: known.intersection(columns) for name, columns in read_event_columns(warehouse).items()}
        columns = {name: found - hidden for name, found in {**tables, **views}.items() if name not in SITE_VIEWS}
        for role in map(quote_identifier, roles):
            warehouse.fetch(f"grant usage on schema {schema} to {role}")
            warehouse.fetch(f"revoke select on all tables in schema {schema} from {role}")
            warehouse.fetch(f"alter default privileges in schema {schema} revoke select on tables from {role}")
            for name, found in sorted(columns.items()):
                place = f"{schema}.{quote_identifier(name)}"
                warehouse.fetch(f"grant select ({_list(found)}) on {place} to {role}")


def _list(names: Iterable[str]) -> str:
    return ", ".join(map(quote_identifier, sorted(names)))
