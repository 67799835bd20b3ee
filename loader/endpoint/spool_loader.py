"""Load the closed segments of the spool at intervals, each time in a process of its own."""

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from loader.config import Settings
from loader.endpoint.limits import LOAD_MAX_REJECTS, LOAD_RETRY_FOR, ServeOptions
from loader.endpoint.metrics import Metrics
from loader.errors import LoaderError
from loader.inputs.discovery import discover
from loader.pipeline.ledger import Ledger
from loader.schema.source import open_warehouse
from loader.spool.writer import Spool

log = logging.getLogger(__name__)
COMMAND = [sys.executable, "-c", "from loader.cli.main import main; main()", "load", "--max-rejects", LOAD_MAX_REJECTS]


class SpoolLoader:
    """Loads the segments of all sources at intervals, and archives and removes those that have been loaded."""

    def __init__(self, sources: Sequence[Settings], spool: Spool, metrics: Metrics, plan: ServeOptions) -> None:
        self._sources, self._spool, self._metrics, self._plan = sources, spool, metrics, plan
        self._ending = threading.Event()
        self._load: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop the thread and terminate a running load; the next load continues where it ended."""
        self._ending.set()
        if load := self._load:
            load.terminate()
        self._thread.join()

    def _run(self) -> None:
        while not self._ending.wait(self._plan.load_every.total_seconds()):
            try:
                self._spool.rotate()
                for settings in self._sources:
                    self._load_source(settings)
                self._spool.remove_older(self._plan.keep.total_seconds())
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
        for file in files:
            if file.uri not in unread:
                self._spool.archive(Path(file.uri))

    def _run_load(self, settings: Settings, folder: Path) -> int:
        """Load a folder and return the exit code. A separate process returns its memory and does not block requests."""
        environment = dict(os.environ)
        if settings.database_url:
            environment["SELLIGENT_DATABASE_URL"] = settings.database_url
        command = [*COMMAND, "--retry-for", LOAD_RETRY_FOR, "--schema", settings.schema, str(folder)]
        with subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as load:
            self._load = load
            if self._ending.is_set():
                load.terminate()
            with suppress(ProcessLookupError):
                os.setpriority(os.PRIO_PROCESS, load.pid, 5)  # requests have priority
            return load.wait()
