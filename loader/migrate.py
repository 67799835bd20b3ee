"""Upgrade a source's schema with Alembic, apply its views, and refresh the figures behind them."""

import logging
from collections.abc import Sequence

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext

from loader.config import Settings, data_root
from loader.errors import SchemaError
from loader.postgres.connection import engine
from loader.postgres.sqlstate import translate_errors
from loader.schema.distribution import distribute_tables
from loader.schema.source import newest_revision, open_warehouse
from loader.views.definitions import apply_views, read_views
from loader.views.refresh import refresh
from loader.views.settings import change_setting

log = logging.getLogger(__name__)


def config(settings: Settings) -> Config:
    """Return Alembic's configuration for one source."""
    made = Config()
    made.set_main_option("script_location", str(data_root() / "migrations").replace("%", "%%"))
    made.attributes["settings"] = settings
    return made


def migrate(
    settings: Settings, segment_schemas: Sequence[str] = (), *, is_distributed: bool = False
) -> tuple[str | None, str]:
    """Bring the schema, the views and their figures up to date; safe to repeat.

    Schema and views change in one transaction. `segment_schemas` become the setting of that name, unless empty. With
    `is_distributed`, the event tables are distributed over the workers of a Citus cluster. Return the revision before,
    None if there was none, and after. Raises SchemaError if the schema has a newer revision, UsageError for a database
    without Citus that is to be distributed, WarehouseError if the database fails.
    """
    made = config(settings)
    with translate_errors(), engine(settings.database_url).begin() as connection:
        made.attributes["connection"] = connection
        context = MigrationContext.configure(connection, opts={"version_table_schema": settings.ops})
        before = context.get_current_revision()
        if before and before > newest_revision():
            raise SchemaError(
                f"schema {settings.schema!r} has version {before}, not {newest_revision()}; "
                "install the newer selligent-loader"
            )
        command.upgrade(made, "head")
        if before == newest_revision():  # otherwise the last revision has applied the views
            apply_views(connection, read_views(settings, connection))
    if segment_schemas:
        with open_warehouse(settings) as warehouse:
            change_setting(warehouse, "segment_schemas", " ".join(segment_schemas))
    if is_distributed:
        with open_warehouse(settings, "distribute") as warehouse:
            distribute_tables(warehouse)
    refresh(settings, report=log.warning)
    return before, newest_revision()
