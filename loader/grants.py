"""Grants: roles that may read a source's schema, and nothing of its companion."""

from collections.abc import Sequence

from loader.names import quoted
from loader.warehouse import Warehouse


def grant(warehouse: Warehouse, roles: Sequence[str]) -> None:
    """Let roles read all tables and views of the schema, those that the loader's role makes later too.

    Raises WarehouseError for a role that does not exist.
    """
    schema = quoted(warehouse.schema)
    with warehouse.transaction():
        for role in map(quoted, roles):
            warehouse.fetch(f"grant usage on schema {schema} to {role}")
            warehouse.fetch(f"grant select on all tables in schema {schema} to {role}")
            warehouse.fetch(f"alter default privileges in schema {schema} grant select on tables to {role}")
