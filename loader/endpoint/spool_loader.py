"""Feed: what the spool has is loaded again and again, by a process of its own."""

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
    """Loads what sources have in the spool, and looks after what is loaded."""

    def __init__(self, sources: Sequence[Settings], spool: Spool, metrics: Metrics, plan: ServeOptions) -> None:
        self._sources, self._spool, self._metrics, self._plan = sources, spool, metrics, plan
        self._ending = threading.Event()
        self._load: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End a load that runs; the next one goes on where it got to."""
        self._ending.set()
        if load := self._load:
            load.terminate()
        self._thread.join()

    def _run(self) -> None:
        while not self._ending.wait(self._plan.load_every.total_seconds()):
            try:
                self._spool.rotate()
                for settings in self._sources:
                    self._feed(settings)
                self._spool.remove_older(self._plan.keep.total_seconds())
            except (LoaderError, OSError) as exc:
                log.warning("%s; events wait in the spool", exc)
            except Exception:  # what is not foreseen must not end the feed
                log.exception("events wait in the spool")

    def _feed(self, settings: Settings) -> None:
        paths = self._spool.closed(settings.schema)
        if not paths:
            return
        if self._plan.is_loading and not self._ending.is_set():
            self._metrics.load(settings.schema, self._run_load(settings, paths[0].parent))
        files, _ = discover([str(path) for path in paths])
        with open_warehouse(settings, "serve") as warehouse:
            unread = {file.uri for file in Ledger(warehouse).unread(files)}
        for file in files:
            if file.uri not in unread:
                self._spool.archive(Path(file.uri))

    def _run_load(self, settings: Settings, folder: Path) -> int:
        """Load a folder in a process of its own, which gives its memory back and shares no interpreter with us."""
        environment = dict(os.environ)
        if settings.database_url:
            environment["SELLIGENT_DATABASE_URL"] = settings.database_url
        command = [*COMMAND, "--retry-for", LOAD_RETRY_FOR, "--schema", settings.schema, str(folder)]
        with subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as load:
            self._load = load
            if self._ending.is_set():
                load.terminate()
            with suppress(ProcessLookupError):
                os.setpriority(os.PRIO_PROCESS, load.pid, 5)  # senders that wait come first
            return load.wait()
