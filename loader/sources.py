"""Sources: all that are loaded into a database, each with a schema of its own."""

from collections.abc import Mapping
from typing import Any

from loader.names import quoted
from loader.warehouse import Warehouse

#: Schemas whose companion we can read, and whether it is of a version that has keys.
_SCHEMAS = """
    select left(nspname, -4), to_regclass(quote_ident(nspname) || '.write_keys') is not null
    from pg_namespace join pg_class on pg_namespace.oid = relnamespace
    where relname = 'loads' and nspname like '%\\_ops' and has_schema_privilege(nspname, 'usage')
    order by 1
"""
_DETAILS = """
    select coalesce((select nickname from {ops}.source), %s),
        (select count(*) from {ops}.write_keys where revoked_at is null),
        (select max(last_used_at) from {ops}.write_keys),
        (select max(received_at) from {schema}.tracks)
"""


def list_sources(warehouse: Warehouse) -> list[Mapping[str, Any]]:
    """Return the sources of a database: nickname, schema, valid keys, when one was last used, the newest event."""
    with warehouse.transaction():
        found = warehouse.fetch(_SCHEMAS)
        return [_describe(warehouse, schema) for schema, has_keys in found if has_keys]


def _describe(warehouse: Warehouse, schema: str) -> Mapping[str, Any]:
    query = _DETAILS.format(ops=quoted(f"{schema}_ops"), schema=quoted(schema))
    ((nickname, keys, last_used, newest),) = warehouse.fetch(query, schema)
    return {"nickname": nickname, "schema": schema, "keys": keys, "last_used": last_used, "newest_event": newest}
