"""Views: the files in `sql/`, one each, made in a source's schema."""

from loader.names import quoted
from loader.paths import root


def statements(schema: str) -> list[str]:
    """Return the SQL that brings all views of a schema up to date, to be run in one transaction."""
    files = sorted((root() / "sql").glob("*.sql"))
    return [
        f"set local search_path to {quoted(schema)}, pg_catalog",
        *(file.read_text("utf-8") for file in files),
        "set local search_path to default",
    ]
