"""Report progress on standard error: a bar on a terminal, log lines elsewhere."""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Column

from loader import logs
from loader.terminal.console import open_console

if TYPE_CHECKING:
    from loader.pipeline.worker import Progress as Report

#: Progress lines are logged without `--verbose` too.
log = logging.getLogger(__name__)
log.setLevel(logging.INFO)

#: Seconds between log lines.
LINE_SECONDS = 10.0
#: Columns of a terminal that the bar, the events and the remaining time need; the rest is for the name of the file.
OTHER_COLUMNS = 54


@contextmanager
def report_progress(total: int, files: int) -> Iterator["Report"]:
    """Yield an object that reports progress; `total` is the number of bytes of the files, 0 if unknown."""
    if sys.stderr.isatty() and logs.style().format == "text":
        with _bar(total, files) as report:
            yield report
    else:
        yield Lines(total, files)


class Counts:
    """What has been read, and how long that took."""

    def __init__(self, total: int, files: int) -> None:
        self.total, self.files = total, files
        self.begun, self.read, self.events = 0, 0, 0
        self.file = ""
        self.started = time.monotonic()

    def begin(self, uri: str) -> None:
        """Begin the next file, of which only the last part of the name is shown."""
        self.begun += 1
        place = f"{self.begun:,} of {self.files:,}: " if self.files > 1 else ""
        self.file = place + ("standard input" if uri == "-" else uri.rstrip("/").rpartition("/")[2])

    def add(self, size: int, events: int) -> None:
        """Count bytes and events."""
        self.read, self.events = self.read + size, self.events + events

    @property
    def speed(self) -> str:
        """The events read, and those of a second."""
        rate = self.events / max(time.monotonic() - self.started, 0.001)
        return f"{self.events:,} events, {rate:,.0f}/s"


class Bar(Counts):
    """Progress as a bar with the name and the place of the file."""

    def __init__(self, total: int, files: int, progress: Progress) -> None:
        super().__init__(total, files)
        self._progress = progress
        self._task: TaskID = progress.add_task("", total=total or None, events="")

    def begin(self, uri: str) -> None:
        super().begin(uri)
        self._progress.update(self._task, description=self.file)

    def add(self, size: int, events: int) -> None:
        super().add(size, events)
        self._progress.update(self._task, advance=size, events=self.speed)


@contextmanager
def _bar(total: int, files: int) -> Iterator["Report"]:
    console = open_console(sys.stderr)
    name = Column(no_wrap=True, overflow="ellipsis", max_width=max(console.width - OTHER_COLUMNS, 16))
    with Progress(
        TextColumn("{task.description}", markup=False, table_column=name),
        BarColumn(bar_width=10, complete_style="green", finished_style="green"),
        TaskProgressColumn("{task.percentage:>3.0f}%", markup=False),
        TextColumn("{task.fields[events]}"),
        TimeRemainingColumn(compact=True),
        console=console,
        transient=True,
    ) as progress:
        yield Bar(total, files, progress)


class Lines(Counts):
    """Progress as a line of the log every LINE_SECONDS."""

    def __init__(self, total: int, files: int) -> None:
        super().__init__(total, files)
        self._last = self.started

    def add(self, size: int, events: int) -> None:
        super().add(size, events)
        now = time.monotonic()
        if now - self._last >= LINE_SECONDS:
            self._last = now
            share = f"{self.read / self.total:.0%}, " if self.total else ""
            log.info("%s%s, %s", share, self.speed, self.file)


def show_refresh() -> None:
    """On a terminal, show the steps of a refresh that take long, with their durations and rows."""
    if sys.stderr.isatty():
        logging.getLogger("loader.views").setLevel(logging.INFO)
