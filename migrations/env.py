"""Alembic's environment: one source's schemas, under an advisory lock, never waiting long for a reader's lock."""

from typing import Any

from alembic import context
from alembic.runtime.migration import MigrationContext, MigrationInfo
from sqlalchemy import Connection, text

from loader.config import Settings, settings
from loader.postgres import advisory_locks
from loader.postgres.connection import engine
from loader.quoting import quote_identifier
from loader.schema.ops_tables import warehouse
from loader.schema.source import newest_revision
from loader.views import definitions

#: One migration of a source at a time, none while a load adds columns or the views are refreshed.
LOCKS = [
    f"select pg_advisory_xact_lock({lock}, hashtext('{{ops}}'))"
    for lock in (advisory_locks.SCHEMA, advisory_locks.REFRESH)
]


def source() -> Settings:
    arguments = context.get_x_argument(as_dictionary=True)
    return context.config.attributes.get("settings") or settings(arguments.get("url"), arguments.get("schema"))


def options(source: Settings) -> dict[str, Any]:
    metadata = warehouse(source.schema)
    fixed = {table.name for table in metadata.tables.values()}

    def include_name(name: str | None, kind: str, _: Any) -> bool:
        return name in {source.schema, source.ops} if kind == "schema" else True

    def include_object(_: Any, name: str | None, kind: str, reflected: bool, compare_to: Any) -> bool:
        """Leave alone what the loader made at run time: collections and columns that the metadata does not have."""
        return not (reflected and compare_to is None and (kind != "table" or name not in fixed))

    return {
        "target_metadata": metadata,
        "version_table_schema": source.ops,
        "include_schemas": True,
        "include_name": include_name,
        "include_object": include_object,
        "transaction_per_migration": False,
        "on_version_apply": bring_views_up_to_date,
    }


def bring_views_up_to_date(*, ctx: MigrationContext, step: MigrationInfo, **_: Any) -> None:
    """Bring the views up to date with the newest revision."""
    if not step.is_upgrade or step.up_revision_id != newest_revision():
        return
    if ctx.connection is not None and not ctx.as_sql:
        definitions.apply_views(ctx.connection, definitions.read_views(source(), ctx.connection))
        return
    for view in definitions.read_views(source()):
        ctx.impl.static_output(view.script)


def preamble(source: Settings) -> list[str]:
    return [
        "set local lock_timeout = '10s'",
        "set local statement_timeout = '1h'",
        *(lock.format(ops=source.ops.replace("'", "''")) for lock in LOCKS),
        *(f"create schema if not exists {quote_identifier(name)}" for name in (source.schema, source.ops)),
    ]


def migrate(connection: Connection, source: Settings) -> None:
    known = set(connection.scalars(text("select nspname from pg_namespace")))
    for statement in preamble(source):
        # PostgreSQL asks for the right to create even where the schema exists.
        if not any(statement == f"create schema if not exists {quote_identifier(name)}" for name in known):
            connection.execute(text(statement))
    context.configure(connection=connection, **options(source))
    context.run_migrations()


def run_offline(source: Settings) -> None:
    context.configure(dialect_name="postgresql", literal_binds=True, **options(source))
    with context.begin_transaction():
        for statement in preamble(source):
            context.execute(statement)
        context.run_migrations()


def run_online(source: Settings) -> None:
    given = context.config.attributes.get("connection")
    if given is not None:
        migrate(given, source)
        return
    with engine(source.database_url).begin() as connection:
        migrate(connection, source)


if context.is_offline_mode():
    run_offline(source())
else:
    run_online(source())
