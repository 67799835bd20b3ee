"""Whole operations: load, replay or widen, then bring the figures behind the views up to date."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from loader.config import Settings, settings
from loader.errors import InputError, LoaderError
from loader.inputs.discovery import discover
from loader.pipeline.load import ProgressFactory, load_files, no_progress
from loader.pipeline.rejected_events import RejectFilter
from loader.pipeline.replay import replay_rejects
from loader.pipeline.result import LoadResult, Options
from loader.pipeline.widen import WideningPlan, widen_column
from loader.postgres.retry import retry
from loader.views.refresh import is_stale, refresh

#: How long a load repeats work after a lost connection, unless told otherwise.
RETRY_FOR = timedelta(minutes=10)


def load_source(source: Any, database_url: str | None, schema: str | None, options: Mapping[str, Any]) -> LoadResult:
    """Load what `loader.load` was called with: a data frame, a path, or several."""
    others = dict(options)
    where = replace(settings(database_url, schema), retry_for=others.pop("retry_for", RETRY_FOR))
    how = Options(**others)
    if isinstance(source, str | os.PathLike):
        return load(where, [os.fspath(source)], how)
    if not hasattr(source, "iloc"):
        return load(where, [os.fspath(path) for path in source], how)
    from loader.inputs.dataframe import frame_file  # pandas takes half a second to import

    return _refreshed(where, load_files(where, [frame_file(source)], how))


def load(
    settings: Settings,
    paths: Sequence[str],
    options: Options,
    reported: ProgressFactory = no_progress,
    *,
    is_refreshing: bool = True,
) -> LoadResult:
    """Load files, folders, globs and URLs, and refresh the figures; the result has what could not be read.

    Raises InputError if there is nothing to read, SchemaError if the database is not prepared, WarehouseError if it
    fails. The ledger marks a load that fails, and the next one continues where it ended.
    """
    files, problems = discover(paths, options.days)
    if not files and problems:
        raise InputError("; ".join(str(problem) for problem in problems))
    result = load_files(settings, files, options, reported, problems)
    return _refreshed(settings, result) if is_refreshing else result


def _refreshed(settings: Settings, result: LoadResult) -> LoadResult:
    """Refresh the figures after a load, also if an earlier one left that undone; a failure goes into its result."""
    try:
        if result.load_id is not None:
            retry(lambda: _refresh_if_stale(settings), settings.retry_for)
    except LoaderError as exc:
        result.status = "failed"
        result.errors.append(f"events are loaded, but the views are not up to date: {exc}; `selligent-loader refresh`")
    return result


def replay(settings: Settings, choice: RejectFilter, options: Options) -> LoadResult:
    """Load the rejects of a choice that can be loaded now, and refresh the figures."""
    result = replay_rejects(settings, choice, options)
    _refresh_if_stale(settings)
    return result


def widen(settings: Settings, plan: WideningPlan) -> int:
    """Make a column text, fill in the values that did not fit, refresh the figures; return the number of values."""
    filled = widen_column(settings, plan)
    _refresh_if_stale(settings)
    return filled


def _refresh_if_stale(settings: Settings) -> None:
    if is_stale(settings):
        refresh(settings)
