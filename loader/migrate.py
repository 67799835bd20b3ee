"""Schema up to date: Alembic's revisions, run on one connection in one transaction."""

from pathlib import Path

from alembic import command
from alembic.config import Config

from loader.config import Settings
from loader.warehouse import engine, translated


def root() -> Path:
    """Return the folder that holds `migrations`: the checkout, or the installed package."""
    package = Path(__file__).parent
    return package if (package / "migrations").is_dir() else package.parent


def head() -> str:
    """Return the newest revision, by the ordinals of the file names."""
    return max(path.name.split("_")[0] for path in (root() / "migrations" / "versions").glob("[0-9]*.py"))


def config(settings: Settings) -> Config:
    """Return Alembic's configuration for one source."""
    made = Config()
    made.set_main_option("script_location", str(root() / "migrations").replace("%", "%%"))
    made.attributes["settings"] = settings
    return made


def migrate(settings: Settings) -> None:
    """Bring the schema up to date; safe to repeat.

    Raises WarehouseError where the database says no.
    """
    made = config(settings)
    with translated(), engine(settings.database_url).begin() as connection:
        made.attributes["connection"] = connection
        command.upgrade(made, "head")
