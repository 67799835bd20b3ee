"""Run `forward` for each source beside the server, in processes of their own, and start one again that ends."""

import os
import subprocess
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from loader.config import Settings
from loader.endpoint.spool_loader import start_command

#: Seconds until a forwarder that has ended is started again, and for one to end.
RESTART_SECONDS, STOP_SECONDS = 5.0, 10.0


class ForwarderProcesses:
    """One forwarder for each source, watched by a thread. A process of its own delays no request."""

    def __init__(self, sources: Sequence[Settings], spool: Path) -> None:
        self._spool = spool
        self._ending = threading.Event()
        self._processes = {settings: self._start(settings) for settings in sources}
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop the forwarders; what they are sending is sent to its end."""
        self._ending.set()
        self._thread.join()
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _start(self, settings: Settings) -> subprocess.Popen[bytes]:
        process = start_command(settings, ["forward", "--with-parent", "--spool", str(self._spool)])
        with suppress(ProcessLookupError):
            os.setpriority(os.PRIO_PROCESS, process.pid, 10)  # requests and loads have priority
        return process

    def _watch(self) -> None:
        while not self._ending.wait(RESTART_SECONDS):
            for settings, process in self._processes.items():
                if process.poll() is not None:
                    self._processes[settings] = self._start(settings)
