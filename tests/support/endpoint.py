"""Run `serve` for tests, on a free port of this machine."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

from loader.config import Settings
from loader.endpoint.write_keys import create_key
from loader.schema.source import open_warehouse
from tests.support.loading import select
from tests.support.waiting import until
from tests.system.test_crash import INSTALLED


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def new_key(settings: Settings, *, is_site: bool = False) -> str:
    with open_warehouse(settings) as warehouse:
        return create_key(warehouse, "test", is_site=is_site)


class Server:
    """A running server, its log, and an HTTP client."""

    def __init__(
        self,
        settings: Settings,
        spool: Path,
        *options: str,
        key: str,
        port: int | None = None,
        prefix: Sequence[str] = (),
    ) -> None:
        self.settings, self.spool, self.key = settings, spool, key
        self.port = port or free_port()
        self.scheme = "https" if "--tls-cert" in options else "http"
        place = ["--port", str(self.port), "--spool", str(spool), "--database-url", str(settings.database_url)]
        self.process = subprocess.Popen(
            [*prefix, *INSTALLED, "serve", *place, "--schema", settings.schema, *options],
            stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
            start_new_session=True,
        )
        self.log = b""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        until(lambda: b"listening on" in self.log or self.process.poll() is not None, 30)
        assert self.process.poll() is None, self.log
        until(self._answers, 10)
        self.client = httpx.Client(base_url=self.url, auth=(key, ""), verify=False, timeout=30)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def post(self, kind: str, body: Any, **how: Any) -> httpx.Response:
        return self.client.post(
            f"/v1/{kind}", **({"content": body} if isinstance(body, bytes) else {"json": body}), **how
        )

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(30)
        self._reader.join(10)
        return code

    def kill(self) -> None:
        """Kill the server and its child processes."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(30)
        self._reader.join(10)

    def figure(self, name: str) -> float:
        """Return a value of /metrics."""
        lines = self.client.get("/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(f"selligent_stream_{name}"))

    def forward_figure(self, name: str) -> float:
        """Return a value of the integrations in /metrics, -1 if there is none."""
        lines = self.client.get("/metrics").text.splitlines()
        return sum([float(line.split()[-1]) for line in lines if line.startswith(f"selligent_forward_{name}")] or [-1])

    def memory(self) -> int:
        """The server's peak memory in MB."""
        return int(Path(f"/proc/{self.process.pid}/status").read_text().split("VmHWM:")[1].split()[0]) >> 10

    def _read(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self.log += line
            sys.stderr.write(line.decode("utf-8", "replace"))

    def _answers(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False


@contextmanager
def serving(settings: Settings, spool: Path, *options: str, key: str = "", **how: Any) -> Iterator[Server]:
    server = Server(settings, spool, *options, key=key or new_key(settings), **how)
    try:
        yield server
    finally:
        server.kill()


@contextmanager
def idle_connections(server: Server, count: int) -> Iterator[None]:
    """Keep open connections that send nothing."""
    with ExitStack() as connections:
        for _ in range(count):
            connections.enter_context(socket.create_connection(("127.0.0.1", server.port), 5))
        yield


def stored(settings: Settings) -> list[str]:
    """Return the ids of all stored events."""
    return [row["id"] for row in select(settings, "select id from tracks order by id")]


def wait_for(settings: Settings, count: int, seconds: float = 60) -> list[str]:
    """Wait until this number of events is stored, and return their ids."""
    deadline = time.monotonic() + seconds
    while len(found := stored(settings)) < count:
        assert time.monotonic() < deadline, f"{len(found)} of {count} events are stored"
        time.sleep(0.2)
    return found
