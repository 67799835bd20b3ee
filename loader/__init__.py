"""Selligent's e-mail events in your own PostgreSQL, as Segment's warehouses would have written them."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    import pandas as pd

    from loader.result import LoadResult

__version__ = "0.1.0"


def load(
    source: "pd.DataFrame | str | os.PathLike[str] | Iterable[str | os.PathLike[str]]",
    *,
    database_url: str | None = None,
    schema: str | None = None,
    **options: Any,
) -> "LoadResult":
    """Load a data frame, or what paths, globs and URLs mean, as the command does; return what it did.

    Without `database_url` and `schema` the environment decides, as for the command; `options` are those of
    `loader.result.Options`. What could not be read is in the result's `errors`. Raises the errors of `loader.errors`.
    """
    from loader.session import load_source  # what it needs takes a second to import

    return load_source(source, database_url, schema, options)
