"""Several endpoints behind nginx, configured as docs/scale.md says: one is stopped, another is lost for good."""

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from loader.api import load
from loader.config import Settings
from loader.pipeline.options import Options
from tests.support.endpoint import Server, free_port, new_key
from tests.support.loading import event, one
from tests.support.waiting import until

DOCUMENT = Path(__file__).parents[2] / "docs" / "scale.md"
PROGRAM = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
#: What surrounds the document's configuration, so that a user without privileges can run it.
AROUND = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {configuration}
}}
"""

pytestmark = pytest.mark.skipif(not PROGRAM, reason="nginx is not installed")


class Balancer:
    """nginx with the document's configuration, on a port of this machine, without TLS."""

    def __init__(self, folder: Path, ports: Sequence[int]) -> None:
        self.folder, self.ports, self.port = folder, ports, free_port()
        folder.mkdir()
        folder.chmod(0o777)  # nginx gives its workers to another user under root
        self._configure()
        self._process = subprocess.Popen([str(PROGRAM), "-c", str(folder / "nginx.conf"), "-p", str(folder)])
        until(self._answers, 10)

    def _configure(self, *down: int) -> None:
        (found,) = re.findall(r"```nginx\n(.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL)
        for name, port in zip(("10.0.0.11:8080", "10.0.0.12:8080"), self.ports, strict=True):
            assert name in found
            found = found.replace(name, f"127.0.0.1:{port}{' down' if port in down else ''}")
        found = found.replace("listen 443 ssl", f"listen 127.0.0.1:{self.port}")
        found = re.sub(r"\n *ssl_certificate\w* .*", "", found)
        text = AROUND.format(folder=self.folder, configuration=found)
        (self.folder / "nginx.conf").write_text(text)

    def drain(self, port: int) -> None:
        """Send no more requests to an endpoint."""
        self._configure(port)
        subprocess.run(
            [str(PROGRAM), "-c", str(self.folder / "nginx.conf"), "-p", str(self.folder), "-s", "reload"], check=True
        )

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(20)

    def _answers(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False


@pytest.fixture
def key(settings: Settings) -> str:
    return new_key(settings)


@pytest.fixture
def endpoints(settings: Settings, key: str, tmp_path: Path) -> Iterator[list[Server]]:
    options = ("--no-load", "--trusted-proxy", "127.0.0.1")
    servers = [Server(settings, tmp_path / f"spool{n}", *options, key=key) for n in range(2)]
    yield servers
    for server in servers:
        server.kill()


@pytest.fixture
def balancer(endpoints: list[Server], tmp_path: Path) -> Iterator[Balancer]:
    started = Balancer(tmp_path / "nginx", [server.port for server in endpoints])
    yield started
    started.stop()


def post(balancer: Balancer, key: str, first: int, last: int, **headers: str) -> set[int]:
    """Send numbered events one by one over new connections, and return the statuses of the answers."""
    url = f"http://127.0.0.1:{balancer.port}/v1/track"
    return {
        httpx.post(url, json=event(messageId=f"b{n}"), auth=(key, ""), headers=headers, timeout=30).status_code
        for n in range(first, last)
    }


def accepted(server: Server) -> float:
    return server.figure("events_total")


def asked(server: Server, send: Callable[[], set[int]]) -> bool:
    """Whether a server takes events while some are sent."""
    before = accepted(server)
    assert send() == {200}
    return accepted(server) > before


@pytest.mark.slow
def test_no_event_is_lost_when_endpoints_are_drained_and_killed(
    settings: Settings, endpoints: list[Server], balancer: Balancer, key: str, tmp_path: Path
) -> None:
    first, second = endpoints
    assert post(balancer, key, 0, 40) == {200}
    counts = [accepted(server) for server in endpoints]
    assert sum(counts) == 40
    assert min(counts) >= 15
    # One is drained: it is asked no more, and can be stopped.
    balancer.drain(second.port)
    until(lambda: not asked(second, lambda: post(balancer, key, 40, 44)), 10)
    assert second.stop() == 0
    assert post(balancer, key, 44, 80) == {200}
    # The other is killed for good: requests go to the one that is back.
    other = Server(settings, second.spool, "--no-load", "--trusted-proxy", "127.0.0.1", key=key, port=second.port)
    endpoints.append(other)
    balancer._configure()
    balancer.drain(0)
    until(lambda: post(balancer, key, 80, 84) == {200} and accepted(other) > 0, 10)
    first.kill()
    assert post(balancer, key, 84, 120) == {200}
    other.stop()
    # Both spools are loaded from elsewhere.
    lost = first.spool.rename(tmp_path / "moved")
    for spool in (lost, other.spool):
        load(settings, [str(spool / settings.schema)], Options())
    assert one(settings, "select count(*) from tracks") == {"count": 120}


@pytest.mark.slow
def test_the_endpoint_sees_the_address_of_the_sender(endpoints: list[Server], balancer: Balancer) -> None:
    transport = httpx.HTTPTransport(local_address="127.0.0.7")
    url = f"http://127.0.0.1:{balancer.port}/v1/track"
    with httpx.Client(transport=transport, headers={"X-Forwarded-For": "203.0.113.9"}) as client:
        assert [client.post(url, json=event(), auth=("no-such-key-0123456789", "")).status_code for _ in range(8)] == [
            401
        ] * 8
        assert client.get(url.replace("v1/track", "metrics")).status_code in {403, 404}
    for server in endpoints:
        server.stop()
    log = b"".join(server.log for server in endpoints)
    assert b"from '127.0.0.7'" in log
    assert b"203.0.113.9" not in log
