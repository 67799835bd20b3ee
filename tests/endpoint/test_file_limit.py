"""The limit of open files, and connections when it is low."""

import resource
import socket
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest

from loader.config import Settings
from loader.endpoint.limits import MAX_CONNECTIONS
from tests.support.endpoint import idle_connections, serving
from tests.support.loading import event

#: Run a command with another soft and another hard limit of open files.
SOFT = ["sh", "-c", 'ulimit -Sn 256; exec "$@"', "sh"]
HARD = ["sh", "-c", 'ulimit -n 200; exec "$@"', "sh"]
EVENT = event(messageId=None)


def open_files(pid: int) -> tuple[int, int]:
    return resource.prlimit(pid, resource.RLIMIT_NOFILE)


@pytest.mark.parametrize(
    ("prefix", "connections", "warnings"), [(SOFT, MAX_CONNECTIONS, 0), (HARD, 96, 1)], ids=["soft", "hard"]
)
def test_idle_connections_do_not_shut_out_others(
    settings: Settings, tmp_path: Path, prefix: Sequence[str], connections: int, warnings: int
) -> None:
    with serving(settings, tmp_path, "--no-load", prefix=prefix) as server:
        soft, hard = open_files(server.process.pid)
        assert soft == (200 if warnings else min(hard, soft))
        assert soft > connections
        assert f"({connections:,} connections, {soft:,} open files)".encode() in server.log
        assert server.log.count(b"raise the hard limit") == warnings
        with idle_connections(server, 300):
            for _ in range(20):
                assert httpx.post(f"{server.url}/v1/track", json=EVENT, auth=(server.key, "")).status_code == 200
        assert server.post("track", EVENT).status_code == 200
        assert server.client.get("/readyz").status_code == 200


def test_a_request_that_has_begun_is_not_given_up_for_others(settings: Settings, tmp_path: Path) -> None:
    with serving(settings, tmp_path, "--no-load", prefix=HARD) as server:
        credentials = httpx.BasicAuth(server.key, "")._auth_header
        head = f"POST /v1/batch HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\nAuthorization: {credentials}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", server.port), 5) as slow:
            slow.sendall(head.encode() + b'{"ba')
            with idle_connections(server, 300):
                slow.sendall(b'tch":[]}')
                assert slow.recv(1000).startswith(b"HTTP/1.1 200")
