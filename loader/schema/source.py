"""Sources: all that are loaded into a database, each with a schema of its own."""

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any

from loader.config import Settings, data_root
from loader.errors import SchemaError
from loader.postgres.connection import Warehouse
from loader.quoting import quote_identifier

#: Asked of the catalog, so that whoever may not look into the schema is told so.
_IS_PREPARED = """
    select exists (
        select from pg_class join pg_namespace on pg_namespace.oid = relnamespace
        where relname = 'alembic_version' and nspname = %s
    )
"""


def newest_revision() -> str:
    """Return the newest revision, by the ordinals of the file names."""
    return max(path.name.split("_")[0] for path in (data_root() / "migrations" / "versions").glob("[0-9]*.py"))


@contextmanager
def open_warehouse(settings: Settings, purpose: str = "") -> Iterator[Warehouse]:
    """Connect to a database that is prepared for this version.

    Raises SchemaError for one that is not.
    """
    with closing(Warehouse(settings, purpose)) as warehouse:
        _check_version(warehouse)
        yield warehouse


def _check_version(warehouse: Warehouse) -> None:
    """Raise SchemaError unless the schema is that of this version of the loader."""
    with warehouse.transaction():
        ((exists,),) = warehouse.fetch(_IS_PREPARED, warehouse.ops)
        query = f"select version_num from {quote_identifier(warehouse.ops)}.alembic_version"
        versions = warehouse.fetch(query) if exists else []
    if not versions:
        raise SchemaError(
            f"schema {warehouse.schema!r} is not prepared; run `selligent-loader init`, or name another with --schema"
        )
    ((found,),) = versions
    if found != newest_revision():
        todo = "install the newer selligent-loader" if found > newest_revision() else "run `selligent-loader migrate`"
        raise SchemaError(f"schema {warehouse.schema!r} has version {found}, not {newest_revision()}; {todo}")


_NAME = "insert into source (nickname) values (%s) on conflict (is_this) do update set nickname = excluded.nickname"


def name_source(warehouse: Warehouse, nickname: str) -> None:
    """Give the source a nickname."""
    with warehouse.transaction():
        warehouse.fetch(_NAME, nickname)


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
    query = _DETAILS.format(ops=quote_identifier(f"{schema}_ops"), schema=quote_identifier(schema))
    ((nickname, keys, last_used, newest),) = warehouse.fetch(query, schema)
    return {"nickname": nickname, "schema": schema, "keys": keys, "last_used": last_used, "newest_event": newest}
