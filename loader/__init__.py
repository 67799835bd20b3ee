"""Selligent's e-mail events in your own PostgreSQL, as Segment's warehouses would have written them."""

from typing import TYPE_CHECKING, Any

from loader.errors import (
    BusyError,
    ContentionError,
    DisconnectedError,
    InputError,
    LoaderError,
    OutageError,
    OverfullError,
    RefusedError,
    SchemaError,
    TakenError,
    UnfinishedError,
    UsageError,
    WarehouseError,
)
from loader.version import __version__

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    import pandas as pd

    from loader.pipeline.result import LoadResult, Options

__all__ = [
    "BusyError",
    "ContentionError",
    "DisconnectedError",
    "InputError",
    "LoadResult",
    "LoaderError",
    "Options",
    "OutageError",
    "OverfullError",
    "RefusedError",
    "SchemaError",
    "TakenError",
    "UnfinishedError",
    "UsageError",
    "WarehouseError",
    "__version__",
    "load",
]


def load(
    source: "pd.DataFrame | str | os.PathLike[str] | Iterable[str | os.PathLike[str]]",
    *,
    database_url: str | None = None,
    schema: str | None = None,
    **options: Any,
) -> "LoadResult":
    """Load a data frame, or files, folders, globs and URLs, as the command does; return the result.

    Without `database_url` and `schema` the environment decides, as for the command. `options` are the fields of
    `Options`, and `retry_for`, a `timedelta`: how long work is repeated after a lost connection (10 minutes). Files
    that could not be read are in the result's `errors`. Raises LoaderError and its children.
    """
    from loader.api import load_source  # what it imports takes a second

    return load_source(source, database_url, schema, options)


def __getattr__(name: str) -> Any:
    """Import the types of options and results on first use: what they import takes half a second."""
    if name not in {"LoadResult", "Options"}:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from loader.pipeline import result

    return getattr(result, name)
