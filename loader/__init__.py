"""Load Selligent's e-mail events into your own PostgreSQL, in the layout of Segment's warehouses."""

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

    from loader.pipeline.options import Options
    from loader.pipeline.result import LoadResult

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

    `database_url` and `schema` default to the environment's, as for the command. `options` are the fields of `Options`,
    and `retry_for`, a `timedelta`: how long to retry after a lost connection (by default 10 minutes). Files that could
    not be read are listed in the result's `errors`. Raises LoaderError or a subclass.
    """
    from loader.api import load_source  # its imports take a second

    return load_source(source, database_url, schema, options)


def __getattr__(name: str) -> Any:
    """Import `LoadResult` and `Options` on first use: their imports take half a second."""
    if name not in {"LoadResult", "Options"}:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from loader.pipeline import options, result

    return options.Options if name == "Options" else result.LoadResult
