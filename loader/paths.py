"""Paths: where `migrations` and `sql` are."""

from pathlib import Path


def root() -> Path:
    """Return the folder that holds them: the checkout, or the installed package."""
    package = Path(__file__).parent
    return package if (package / "migrations").is_dir() else package.parent
