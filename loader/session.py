"""Session: a load from Python, of paths or of a data frame."""

import os
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from loader.config import settings
from loader.frames import frame_file
from loader.pipeline import load, load_files
from loader.refresh import refresh_after
from loader.result import LoadResult, Options

Source = pd.DataFrame | str | os.PathLike[str] | Iterable[str | os.PathLike[str]]


def load_source(source: Source, database_url: str | None, schema: str | None, options: Mapping[str, Any]) -> LoadResult:
    """Load a source and bring the views up to date."""
    where, how = settings(database_url, schema), Options(**options)
    if isinstance(source, pd.DataFrame):
        result = load_files(where, [frame_file(source)], how)
    else:
        paths = [source] if isinstance(source, str | os.PathLike) else source
        result = load(where, [os.fspath(path) for path in paths], how)
    refresh_after(where, how, result)
    return result
