"""Read the settings (database URL, schema, folders) from arguments and the environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import platformdirs

from loader.errors import UsageError

#: Maximum length of a schema name in bytes: its companion `<schema>_ops` must fit PostgreSQL's 63.
MAX_SCHEMA = 59
#: U+0000 cannot be in an identifier, and `%` is doubled in the statements that Alembic runs.
FORBIDDEN = frozenset("\0%")


@dataclass(frozen=True, slots=True)
class Settings:
    """The database URL (None for the embedded server) and the schema to load into."""

    database_url: str | None = field(repr=False)  # it may hold a password
    schema: str
    #: How long to retry after a lost connection.
    retry_for: timedelta = timedelta()

    @property
    def ops(self) -> str:
        """Name of the companion schema."""
        return ops_schema(self.schema)


def settings(
    database_url: str | None = None, schema: str | None = None, environment: Mapping[str, str] = os.environ
) -> Settings:
    """Return the settings from arguments and environment; arguments take precedence.

    Raises UsageError for a schema name that cannot be used.
    """
    url = database_url or environment.get("SELLIGENT_DATABASE_URL") or environment.get("DATABASE_URL") or None
    name = schema or environment.get("SELLIGENT_SCHEMA") or "selligent"
    if len(name.encode()) > MAX_SCHEMA or name.startswith("pg_") or not FORBIDDEN.isdisjoint(name):
        raise UsageError(
            f"schema {name!r} cannot be used; choose a name of at most {MAX_SCHEMA} bytes, without %, not like pg_…"
        )
    return Settings(url, name)


def data_root() -> Path:
    """Return the folder that contains `migrations/` and `sql/`: the checkout, or the installed package."""
    package = Path(__file__).parent
    return package if (package / "migrations").is_dir() else package.parent


def ops_schema(schema: str) -> str:
    """Return the companion of a source's schema, which holds the ledger, rejects and internal views."""
    return f"{schema}_ops"


#: Home of the embedded server for root.
ROOT_HOME = Path("/var/lib/selligent-loader")


def private(path: str, flags: int) -> int:
    """Open a file for `open(opener=…)`; a new one can be read by its owner only, whatever the umask."""
    return os.open(path, flags, 0o600)


def make_private(folder: Path) -> None:
    """Create a folder and its missing parents, which only their owner can list, whatever the umask."""
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    for place in reversed(missing):
        place.mkdir(exist_ok=True)
        place.chmod(0o711 if os.geteuid() == 0 else 0o700)  # the embedded server's user must be able to pass


def home() -> Path:
    """Return the folder of the embedded server: `SELLIGENT_HOME`, else the platform's folder for user data."""
    if chosen := os.environ.get("SELLIGENT_HOME"):
        return Path(chosen).expanduser()
    return ROOT_HOME if os.geteuid() == 0 else platformdirs.user_data_path("selligent-loader")
