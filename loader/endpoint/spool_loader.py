"""Load the closed segments of the spool and refresh the figures at intervals, in processes of their own."""

import glob
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from loader.config import Settings
from loader.endpoint.limits import LOAD_MAX_REJECTS, LOAD_RETRY_FOR, ServeOptions
from loader.endpoint.metrics import Metrics
from loader.errors import LoaderError
from loader.forwarding.eligibility import without_suppressed
from loader.forwarding.retention import first_needed
from loader.inputs.discovery import discover
from loader.pipeline.ledger import Ledger
from loader.pipeline.suppression import Suppression, SuppressionList, files_with_suppressed
from loader.schema.source import open_warehouse
from loader.spool.rewrite import rewrite_segment
from loader.spool.segment_lock import hold_segments
from loader.spool.segments import site_log
from loader.spool.writer import Spool
from loader.views.figures import read_figures
from loader.views.refresh import is_stale

log = logging.getLogger(__name__)
COMMAND = [sys.executable, "-c", "from loader.cli.main import main; main()"]
LOAD = ["load", "--max-rejects", LOAD_MAX_REJECTS, "--retry-for", LOAD_RETRY_FOR]


def start_command(settings: Settings, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start a command of the loader for a source. The database URL is not in its arguments, which others can see."""
    environment = dict(os.environ)
    if settings.database_url:
        environment["SELLIGENT_DATABASE_URL"] = settings.database_url
    command = [*COMMAND, *arguments, "--schema", settings.schema]
    return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


class SpoolLoader:
    """Loads the segments of all sources and refreshes their figures at intervals, one process at a time.

    Segments that have been loaded are archived, and removed later. A refresh that fails does not affect loads.
    """

    def __init__(self, sources: Sequence[Settings], spool: Spool, metrics: Metrics, plan: ServeOptions) -> None:
        self._sources, self._spool, self._metrics, self._plan = sources, spool, metrics, plan
        self._ending = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._refreshed_at = time.monotonic()
        self._thread = threading.Thread(target=self._repeat, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop the thread and terminate a running load or refresh; the next one continues or repeats it."""
        self._ending.set()
        if process := self._process:
            process.terminate()
        self._thread.join()

    def _repeat(self) -> None:
        while not self._ending.wait(self._plan.load_every.total_seconds()):
            try:
                self._spool.rotate()
                for settings in self._sources:
                    self._load_source(settings)
                    self._keep_site_calls(settings)
                self._refresh_if_due()
                self._spool.remove_older(self._plan.keep.total_seconds(), self._read_needed())
            except (LoaderError, OSError) as exc:
                log.warning("%s; events stay in the spool", exc)
            except Exception:  # an unexpected error must not end the thread
                log.exception("unexpected error; events stay in the spool")

    def _load_source(self, settings: Settings) -> None:
        paths = self._spool.closed(settings.schema)
        if not paths:
            return
        if self._plan.is_loading and not self._ending.is_set():
            self._metrics.count_load(settings.schema, self._run_load(settings, paths[0].parent))
        files, _ = discover([str(path) for path in paths])
        with open_warehouse(settings, "serve") as warehouse:
            unread = {file.uri for file in Ledger(warehouse).unread(files)}
            loaded = [file.uri for file in files if file.uri not in unread]
            named = set(files_with_suppressed(warehouse, loaded))
            suppressed = Suppression(warehouse).list if named else None
        for uri in loaded:
            if suppressed and uri in named:
                self._remove_suppressed(Path(uri), suppressed)
            self._spool.archive(Path(uri))

    def _remove_suppressed(self, path: Path, suppressed: SuppressionList) -> None:
        """Remove the events of suppressed people from a segment before it is archived, so that a crash leaves none.

        After a crash between the two, the segment has changed and is loaded again, which adds nothing.
        """
        with hold_segments(path.parent.parent):
            rewrite_segment(path, lambda line: without_suppressed(line, suppressed))

    def _keep_site_calls(self, settings: Settings) -> None:
        """Move the segments with calls of the company's site, which are not loaded, to those that are kept."""
        paths = self._spool.closed(site_log(settings.schema))
        if not paths:
            return
        with open_warehouse(settings, "serve") as warehouse:
            suppressed = Suppression(warehouse).list
        for path in paths:
            if suppressed.digests:
                self._remove_suppressed(path, suppressed)
            self._spool.archive(path)

    def _read_needed(self) -> dict[Path, str]:
        """Return the first segment that integrations need, by the folder of the log."""
        needed = {}
        for settings in self._sources:
            with open_warehouse(settings, "serve") as warehouse:
                for log_name, reads_site in ((settings.schema, False), (site_log(settings.schema), True)):
                    place = self._spool.place(log_name)
                    if (first := first_needed(warehouse, place, reads_site=reads_site)) is not None:
                        needed[place] = first
        return needed

    def _refresh_if_due(self) -> None:
        """Refresh the sources with newly loaded events, once `refresh_every` has passed since the last refresh.

        The metrics get the number of events that the figures do not include.
        """
        wait = self._plan.refresh_every.total_seconds()
        is_due = self._plan.is_loading and wait and time.monotonic() >= self._refreshed_at + wait
        for settings in self._sources:
            if is_due and not self._ending.is_set() and is_stale(settings):
                started = time.monotonic()
                code = self._run(settings, ["refresh"])
                self._metrics.count_refresh(settings.schema, code, time.monotonic() - started)
            with open_warehouse(settings, "serve") as warehouse, warehouse.transaction():
                self._metrics.set_behind(settings.schema, read_figures(warehouse)[0]["events_behind"])
        if is_due:
            self._refreshed_at = time.monotonic()

    def _run_load(self, settings: Settings, folder: Path) -> int:
        """Load a folder and return the exit code."""
        options = ["--no-refresh"] if self._plan.refresh_every else []
        closed = str(
            Path(glob.escape(str(folder))) / "*.jsonl*"
        )  # the folder has open segments, which this server writes
        return self._run(settings, [*LOAD, *options, closed])

    def _run(self, settings: Settings, arguments: Sequence[str]) -> int:
        """Run a command and return its exit code. A process of its own returns its memory and delays no request."""
        with start_command(settings, arguments) as process:
            self._process = process
            if self._ending.is_set():
                process.terminate()
            with suppress(ProcessLookupError):
                os.setpriority(os.PRIO_PROCESS, process.pid, 5)  # requests have priority
            return process.wait()
