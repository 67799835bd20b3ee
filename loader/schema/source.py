"""Open a source's schemas and check their version; name a source, and list those of a database."""

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any

from loader.config import Settings, data_root
from loader.errors import SchemaError
from loader.postgres.connection import Warehouse
from loader.quoting import quote_identifier

#: The catalog is readable without privileges on the schema. A role that lacks these gets "permission denied" from the
#: query of the version, rather than "not prepared".
_IS_PREPARED = """
    select exists (
        select from pg_class join pg_namespace on pg_namespace.oid = relnamespace
        where relname = 'alembic_version' and nspname = %s
    )
"""


def newest_revision() -> str:
    """Return the newest revision, from the ordinals in the file names of the migrations."""
    return max(path.name.split("_")[0] for path in (data_root() / "migrations" / "versions").glob("[0-9]*.py"))


@contextmanager
def open_warehouse(settings: Settings, purpose: str = "") -> Iterator[Warehouse]:
    """Connect to a source whose schema has this version's revision; close the connection after the body.

    Raises SchemaError if the schema is missing or has another revision.
    """
    with closing(Warehouse(settings, purpose)) as warehouse:
        _check_version(warehouse)
        yield warehouse


def _check_version(warehouse: Warehouse) -> None:
    """Raise SchemaError unless the schema has the newest revision."""
    with warehouse.transaction():
        ((exists,),) = warehouse.fetch(_IS_PREPARED, warehouse.ops)
        query = f"select version_num from {quote_identifier(warehouse.ops)}.alembic_version"
        versions = warehouse.fetch(query) if exists else []
    if not versions:
        raise SchemaError(
            f"schema {warehouse.schema!r} is not prepared; run `selligent-loader init`, or name another with --schema"
        )
    ((version,),) = versions
    if version != newest_revision():
        todo = "install the newer selligent-loader" if version > newest_revision() else "run `selligent-loader migrate`"
        raise SchemaError(f"schema {warehouse.schema!r} has version {version}, not {newest_revision()}; {todo}")


_NAME = "insert into source (nickname) values (%s) on conflict (is_this) do update set nickname = excluded.nickname"


def name_source(warehouse: Warehouse, nickname: str) -> None:
    """Set the nickname of a source."""
    with warehouse.transaction():
        warehouse.fetch(_NAME, nickname)


#: Schemas whose companion the current role can use, and whether that has the table of write keys (older ones do not).
_SCHEMAS = """
    select left(nspname, -4), to_regclass(quote_ident(nspname) || '.write_keys') is not null
    from pg_namespace join pg_class on pg_namespace.oid = relnamespace
    where relname = 'loads' and nspname like '%\\_ops' and has_schema_privilege(nspname, 'usage')
        and coalesce(has_table_privilege(to_regclass(quote_ident(nspname) || '.write_keys'), 'select'), true)
    order by 1
"""
#: The name of the column is not fixed in the query, because sources with older schemas do not have it.
_DETAILS = """
    select coalesce((select nickname from {ops}.source), %s),
        (select count(*) from {ops}.write_keys where revoked_at is null),
        last.key_id, last.last_used_at, last.last_client,
        (select max(received_at) from {schema}.tracks)
    from (select) as one
    left join (
        select key_id || ' (' || label || ')' as key_id, last_used_at, to_jsonb(used) ->> 'last_client' as last_client
        from {ops}.write_keys as used where last_used_at is not null order by last_used_at desc, used.key_id limit 1
    ) as last on true
"""


def key_schemas(warehouse: Warehouse) -> list[str]:
    """Return the schemas of the sources whose write keys the current role can read, in the current transaction."""
    return [schema for schema, has_keys in warehouse.fetch(_SCHEMAS) if has_keys]


def list_sources(warehouse: Warehouse) -> list[Mapping[str, Any]]:
    """Return the sources of a database that the current role can read.

    Each has `nickname`, `schema`, `keys` (number of valid ones), `last_key` (number and label of the key that was used
    last), `last_used`, `last_client` (the name of the library that used it) and `newest_event`; None if not known.
    """
    with warehouse.transaction():
        return [_describe(warehouse, schema) for schema in key_schemas(warehouse)]


def _describe(warehouse: Warehouse, schema: str) -> Mapping[str, Any]:
    query = _DETAILS.format(ops=quote_identifier(f"{schema}_ops"), schema=quote_identifier(schema))
    (found,) = warehouse.fetch(query, schema)
    names = "nickname", "keys", "last_key", "last_used", "last_client", "newest_event"
    return {"nickname": found[0], "schema": schema, **dict(zip(names[1:], found[1:], strict=True))}
