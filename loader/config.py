"""Settings: which database, which schema."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import platformdirs

from loader.errors import UsageError

#: Longest schema name, so that its companion `<schema>_ops` fits PostgreSQL's 63 bytes.
MAX_SCHEMA = 59
#: U+0000 cannot be in a name, and the driver of Alembic's scripts doubles %.
FORBIDDEN = frozenset("\0%")


@dataclass(frozen=True, slots=True)
class Settings:
    """Where to load: a database URL (None for the embedded server) and a schema."""

    database_url: str | None = field(repr=False)  # it may hold a password
    schema: str
    #: How long work is repeated after a lost connection.
    retry_for: timedelta = timedelta()

    @property
    def ops(self) -> str:
        """The companion schema, which holds what is no analyst's business."""
        return ops_schema(self.schema)


def settings(
    database_url: str | None = None, schema: str | None = None, environment: Mapping[str, str] = os.environ
) -> Settings:
    """Return the settings that flags and environment give, flags first.

    Raises UsageError for a schema name PostgreSQL would not take.
    """
    url = database_url or environment.get("SELLIGENT_DATABASE_URL") or environment.get("DATABASE_URL") or None
    name = schema or environment.get("SELLIGENT_SCHEMA") or "selligent"
    if len(name.encode()) > MAX_SCHEMA or name.startswith("pg_") or not FORBIDDEN.isdisjoint(name):
        raise UsageError(
            f"schema {name!r} cannot be used; choose one of at most {MAX_SCHEMA} bytes, without %, not pg_…"
        )
    return Settings(url, name)


def data_root() -> Path:
    """Return the folder that holds them: the checkout, or the installed package."""
    package = Path(__file__).parent
    return package if (package / "migrations").is_dir() else package.parent


def ops_schema(schema: str) -> str:
    """Return the companion of a source's schema, which holds what is no analyst's business."""
    return f"{schema}_ops"


ROOT_HOME = Path("/var/lib/selligent-loader")


def home() -> Path:
    """Return the folder of the embedded server: `SELLIGENT_HOME`, else where the user's data belongs."""
    if chosen := os.environ.get("SELLIGENT_HOME"):
        return Path(chosen).expanduser()
    return ROOT_HOME if os.geteuid() == 0 else platformdirs.user_data_path("selligent-loader")
