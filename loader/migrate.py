"""Schema up to date: Alembic's revisions and the views, on one connection in one transaction."""

from collections.abc import Sequence

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext

from loader.config import Settings, data_root
from loader.errors import SchemaError
from loader.postgres.connection import engine
from loader.postgres.sqlstate import translate_errors
from loader.schema.source import newest_revision, open_warehouse
from loader.views.definitions import apply_views, read_views
from loader.views.refresh import refresh
from loader.views.settings import change_setting


def config(settings: Settings) -> Config:
    """Return Alembic's configuration for one source."""
    made = Config()
    made.set_main_option("script_location", str(data_root() / "migrations").replace("%", "%%"))
    made.attributes["settings"] = settings
    return made


def migrate(settings: Settings, segment_schemas: Sequence[str] = ()) -> tuple[str | None, str]:
    """Bring the schema, the views and their figures up to date; safe to repeat.

    `segment_schemas` become the setting of that name, if there are any. Return the version before, None if there was
    none, and after. Raises SchemaError for the schema of a newer version, WarehouseError if the database fails.
    """
    made = config(settings)
    with translate_errors(), engine(settings.database_url).begin() as connection:
        made.attributes["connection"] = connection
        context = MigrationContext.configure(connection, opts={"version_table_schema": settings.ops})
        before = context.get_current_revision()
        if before and before > newest_revision():
            raise SchemaError(
                f"schema {settings.schema!r} has version {before}, of a newer selligent-loader; install it"
            )
        command.upgrade(made, "head")
        if before == newest_revision():  # else the last revision has brought them up to date
            apply_views(connection, read_views(settings, connection))
    if segment_schemas:
        with open_warehouse(settings) as warehouse:
            change_setting(warehouse, "segment_schemas", " ".join(segment_schemas))
    refresh(settings)
    return before, newest_revision()
