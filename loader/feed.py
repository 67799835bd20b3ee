"""Feed: what the spool has is loaded again and again, by a process of its own."""

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
from loader.errors import LoaderError
from loader.gauges import Gauges
from loader.keyring import Keyring
from loader.ledger import Ledger, prepared
from loader.listing import discover
from loader.plan import Plan
from loader.spool import Spool
from loader.strangers import Strangers

log = logging.getLogger(__name__)

#: Seconds between looks at the keys: a revoked one is refused within twice that.
KEYS = 4.0
#: Seconds between words on strangers.
STRANGERS = 60.0
#: What a load does with a lost connection; the next load is due soon.
RETRY_FOR = "30s"
#: As many rejects as it takes: they are looked at in the warehouse, and nobody reads this exit code.
MAX_REJECTS = str(1 << 30)
COMMAND = [sys.executable, "-c", "from loader.cli import main; main()", "load", "--max-rejects", MAX_REJECTS]


class Feed:
    """Loads what sources have in the spool, and looks after what is loaded."""

    def __init__(self, sources: Sequence[Settings], spool: Spool, gauges: Gauges, plan: Plan) -> None:
        self._sources, self._spool, self._gauges, self._plan = sources, spool, gauges, plan
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
            self._gauges.load(settings.schema, self._run_load(settings, paths[0].parent))
        files, _ = discover([str(path) for path in paths])
        with prepared(settings, "serve") as warehouse:
            unread = {file.uri for file in Ledger(warehouse).unread(files)}
        for file in files:
            if file.uri not in unread:
                self._spool.put_aside(Path(file.uri))

    def _run_load(self, settings: Settings, folder: Path) -> int:
        """Load a folder in a process of its own, which gives its memory back and shares no interpreter with us."""
        environment = dict(os.environ)
        if settings.database_url:
            environment["SELLIGENT_DATABASE_URL"] = settings.database_url
        command = [*COMMAND, "--retry-for", RETRY_FOR, "--schema", settings.schema, str(folder)]
        with subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as load:
            self._load = load
            if self._ending.is_set():
                load.terminate()
            with suppress(ProcessLookupError):
                os.setpriority(os.PRIO_PROCESS, load.pid, 5)  # senders that wait come first
            return load.wait()


class Watch:
    """Looks at the keys again and again, and tells of those who had none."""

    def __init__(self, keyring: Keyring, strangers: Strangers) -> None:
        self._keyring, self._strangers = keyring, strangers
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Look for the last time."""
        self._ending.set()
        self._thread.join()
        self._strangers.tell()
        self._keyring.close()

    def _run(self) -> None:
        is_away, told = False, time.monotonic()
        while not self._ending.wait(KEYS):
            if time.monotonic() > told + STRANGERS:
                self._strangers.tell()
                told = time.monotonic()
            try:
                self._keyring.refresh()
                is_away = False
            except LoaderError as exc:
                if not is_away:
                    log.warning("%s; the keys that were last known are valid", exc)
                is_away = True
