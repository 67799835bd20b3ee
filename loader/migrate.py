"""Schema up to date: Alembic's revisions and the views, on one connection in one transaction."""

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext

from loader.config import Settings
from loader.errors import SchemaError
from loader.paths import root
from loader.views import apply_views, read_views
from loader.warehouse import engine, translated


def head() -> str:
    """Return the newest revision, by the ordinals of the file names."""
    return max(path.name.split("_")[0] for path in (root() / "migrations" / "versions").glob("[0-9]*.py"))


def config(settings: Settings) -> Config:
    """Return Alembic's configuration for one source."""
    made = Config()
    made.set_main_option("script_location", str(root() / "migrations").replace("%", "%%"))
    made.attributes["settings"] = settings
    return made


def migrate(settings: Settings) -> tuple[str | None, str]:
    """Bring the schema up to date and return its version before, None if there was none, and after; safe to repeat.

    Raises SchemaError for the schema of a newer version, WarehouseError where the database says no.
    """
    made = config(settings)
    with translated(), engine(settings.database_url).begin() as connection:
        made.attributes["connection"] = connection
        context = MigrationContext.configure(connection, opts={"version_table_schema": settings.ops})
        before = context.get_current_revision()
        if before and before > head():
            raise SchemaError(
                f"schema {settings.schema!r} has version {before}, of a newer selligent-loader; install it"
            )
        command.upgrade(made, "head")
        if before == head():  # else the last revision has brought them up to date
            apply_views(connection, read_views(settings, connection))
    return before, head()
