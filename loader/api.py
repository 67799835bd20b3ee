"""Whole operations: load, replay or widen, then refresh the figures behind the views."""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from loader.config import Settings, home, settings
from loader.errors import InputError, LoaderError
from loader.inputs.discovery import discover
from loader.pipeline.load import ProgressFactory, load_files, no_progress
from loader.pipeline.options import Options
from loader.pipeline.rejected_events import RejectFilter
from loader.pipeline.replay import replay_rejects
from loader.pipeline.result import LoadResult
from loader.pipeline.widen import WideningPlan, widen_column
from loader.postgres.retry import retry
from loader.privacy.retention import apply_policy, is_due
from loader.schema.source import open_warehouse
from loader.spool.recovery import close_left_open, is_private
from loader.views.refresh import is_stale, refresh

log = logging.getLogger(__name__)

#: Default of `retry_for`, the time to retry after a lost connection.
RETRY_FOR = timedelta(minutes=10)


def load_source(source: Any, database_url: str | None, schema: str | None, options: Mapping[str, Any]) -> LoadResult:
    """Load a data frame, a path or several paths, with the arguments of `loader.load`; return the result."""
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
    """Load files, folders, globs and URLs, then refresh the figures; the result lists what could not be read.

    Raises InputError if there is nothing to read, SchemaError if the schema is not prepared, WarehouseError if the
    database fails. A failed load is marked in the ledger, and the next one continues where it ended.
    """
    if not options.dry_run:
        for path in paths:
            close_left_open(Path(path))
    files, problems = discover(paths, options.days, is_private)
    if not files and problems:
        raise InputError("; ".join(str(problem) for problem in problems))
    result = load_files(settings, files, options, reported, problems)
    if not is_refreshing:
        return result
    result = _refreshed(settings, result)
    if result.load_id is not None:
        _apply_policy(settings)
    return result


def _refreshed(settings: Settings, result: LoadResult) -> LoadResult:
    """Return the result of a load after refreshing the figures, if stale. A failure to do so is added to the result."""
    try:
        if result.load_id is not None:
            retry(lambda: _refresh_if_stale(settings), settings.retry_for)
    except LoaderError as exc:
        result.status = "failed"
        result.errors.append(
            f"events are loaded, but the views are not up to date: {exc}; run `selligent-loader refresh`"
        )
    return result


def _apply_policy(settings: Settings) -> None:
    """Delete what is older than the policy of retention says, once a day; if another load runs, a later one does it."""
    try:
        with open_warehouse(settings) as warehouse:
            has_to = is_due(warehouse)
        if has_to:
            deleted = apply_policy(settings, home() / "spool")
            log.info("deleted for their age: %s", ", ".join(f"{count:,} {kind}" for kind, count in deleted.items()))
    except LoaderError as exc:
        log.warning("old data is not deleted now: %s; `selligent-loader privacy apply` does it", exc)


def replay(settings: Settings, choice: RejectFilter, options: Options) -> LoadResult:
    """Load those of the chosen rejects that can be loaded now, then refresh the figures; return the result."""
    result = replay_rejects(settings, choice, options)
    _refresh_if_stale(settings)
    return result


def widen(settings: Settings, plan: WideningPlan) -> int:
    """Change a column to text, fill in its discarded values, refresh the figures; return how many were filled in."""
    filled = widen_column(settings, plan)
    _refresh_if_stale(settings)
    return filled


def _refresh_if_stale(settings: Settings) -> None:
    if is_stale(settings):
        refresh(settings)
