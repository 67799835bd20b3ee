"""Report progress on standard error: a bar on a terminal, log lines elsewhere."""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from loader import logs
from loader.pipeline.worker import Progress as Report

#: Progress lines are logged without `--verbose` too.
log = logging.getLogger(__name__)
log.setLevel(logging.INFO)

#: Seconds between log lines.
LINE_SECONDS = 10.0


@contextmanager
def report_progress(total: int) -> Iterator[Report]:
    """Yield a function that reports bytes and events; `total` is the number of bytes, 0 if unknown."""
    if sys.stderr.isatty() and logs.style().format == "text":
        with _bar(total) as report:
            yield report
    else:
        yield _lines(total)


@contextmanager
def _bar(total: int) -> Iterator[Report]:
    events, started = 0, time.monotonic()
    columns = BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[events]}"), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=total or None, events="")

        def report(size: int, count: int) -> None:
            nonlocal events
            events += count
            rate = events / max(time.monotonic() - started, 0.001)
            progress.update(task, advance=size, events=f"{events:,} events, {rate:,.0f}/s")

        yield report


def _lines(total: int) -> Report:
    events, read, started = 0, 0, time.monotonic()
    last = started

    def report(size: int, count: int) -> None:
        nonlocal events, read, last
        events, read, now = events + count, read + size, time.monotonic()
        if now - last >= LINE_SECONDS:
            last = now
            share = f"{read / total:.0%}, " if total else ""
            log.info("%s%s events, %s/s", share, f"{events:,}", f"{events / (now - started):,.0f}")

    return report


def show_refresh() -> None:
    """On a terminal, show the steps of a refresh that take long, with their durations and rows."""
    if sys.stderr.isatty():
        logging.getLogger("loader.views.refresh").setLevel(logging.INFO)
