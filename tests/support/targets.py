"""Targets of integrations for tests: a server on this machine that records requests and gives prepared answers."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from loader.integrations.addresses import HttpRules
from loader.integrations.event import read_events
from loader.integrations.protocol import Batch, Integration, Record
from loader.integrations.registry import create

#: What tests allow: plain HTTP to this machine.
LOCAL = HttpRules(allow_http=True, allow_private=True)


@dataclass(frozen=True, slots=True)
class Received:
    """A request that a target has received."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of a target. `delay` is in seconds; without a status the connection is closed."""

    status: int | None = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0


class Target:
    """A server that answers each request by a function, which may be replaced while it runs."""

    def __init__(self, answer: Callable[[Received], Reply] = lambda _: Reply(), port: int = 0) -> None:
        self.answer = answer
        self.requests: list[Received] = []
        self._closing = threading.Event()
        target = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 1 << 16  # one packet an answer, which no delayed acknowledgement holds up

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                received = Received(self.command, self.path, headers, body)
                target.requests.append(received)
                reply = target.answer(received)
                target._closing.wait(reply.delay)
                if reply.status is None or target._closing.is_set():
                    self.close_connection = True
                    return
                self.send_response(reply.status)
                for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(reply.body)

            do_GET = do_DELETE = do_POST  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def wait(self) -> None:
        """Return when the server has ended."""
        self._thread.join()

    def close(self) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def target(answer: Callable[[Received], Reply] = lambda _: Reply()) -> Iterator[Target]:
    """Run a target for the body."""
    opened = Target(answer)
    try:
        yield opened
    finally:
        opened.close()


def integration(kind: str, secret: str = "", **settings: str) -> Integration:
    """Return an integration that may send to this machine."""
    return create(kind, settings, secret, LOCAL)


def batch(made: Integration, *events: Mapping[str, Any], key: str = "0-0") -> Batch:
    """Return a batch of events as the forwarder makes it."""
    read = [read_events(json.dumps(event, separators=(",", ":")).encode())[0] for event in events]
    return Batch(key, [Record(event, made.encode(event)) for event in read])
