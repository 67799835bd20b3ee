"""The HTTP client: redirects, time limits, proxies, and no secret in any text."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from loader.integrations import http
from loader.integrations.http import MASK, HttpClient, Request
from loader.integrations.outcomes import TryLater
from tests.support.targets import LOCAL, Received, Reply, target

SECRET = "s3cret-value"


def send(url: str, body: bytes = b"{}") -> http.Answer:
    return HttpClient(LOCAL, (SECRET,)).send(Request(url, body))


def redirecting(status: int, where: str) -> Callable[[Received], Reply]:
    return lambda request: Reply() if request.path == "/new" else Reply(status, b"", {"Location": where})


@pytest.mark.parametrize(("status", "final"), [(307, 200), (308, 200), (301, 301), (302, 302), (303, 303)])
def test_a_redirect_to_the_same_host_that_keeps_the_method_is_followed(status: int, final: int) -> None:
    with target(redirecting(status, "/new")) as place:
        assert send(f"{place.url}/old", b"body").status == final
        assert [request.body for request in place.requests] == [b"body"] * (2 if final == 200 else 1)


def test_a_redirect_to_another_host_is_not_followed() -> None:
    with target() as other, target(redirecting(307, f"{other.url}/new")) as place:
        assert send(f"{place.url}/old").status == 307
        assert not other.requests


def test_redirects_in_a_circle_end() -> None:
    with target(lambda _: Reply(307, b"", {"Location": "/again"})) as place:
        assert send(place.url).status == 307
        assert len(place.requests) == http.MAX_REDIRECTS


def test_an_answer_is_cut_and_its_text_has_no_secret() -> None:
    with target(lambda _: Reply(400, b"bad key " + SECRET.encode() + b"x" * 5000)) as place:
        answer = send(place.url)
    assert answer.text.startswith(f"bad key {MASK}xxx")
    assert len(answer.text) == http.MAX_ANSWER_TEXT


@contextmanager
def raw_server(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that does what a function does with each connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    answer(connection)

        threading.Thread(target=run, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def drip(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    with suppress(OSError):
        for _ in range(100):
            connection.sendall(b"x")
            time.sleep(0.05)


def test_an_answer_that_drips_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "ANSWER_SECONDS", 0.5)
    with raw_server(drip) as url:
        begun = time.monotonic()
        with pytest.raises(TryLater) as raised:
            send(url)
    assert raised.value.reason == "network"
    assert time.monotonic() < begun + 3


def test_a_target_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "READ_SECONDS", 0.3)
    with raw_server(lambda _: time.sleep(2)) as url, pytest.raises(TryLater, match="Timeout"):
        send(url)


@pytest.mark.parametrize(
    "content",
    [b"", b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort"],
)
def test_an_answer_that_is_not_complete_http_is_tried_again(content: bytes) -> None:
    with raw_server(lambda connection: connection.sendall(content)) as url, pytest.raises(TryLater):
        send(url)


def test_a_huge_answer_takes_little_memory() -> None:
    def flood(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        with suppress(OSError):
            for _ in range(200):
                connection.sendall(b"x" * (1 << 20))

    with raw_server(flood) as url:
        assert len(send(url).body) == http.MAX_ANSWER_BYTES


def test_the_proxy_of_the_environment_is_used_and_its_password_is_sent_to_it_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with target() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.replace("//", "//me:pass@"))
        monkeypatch.delenv("no_proxy", raising=False)
        assert send("http://events.example/hook").status == 200
        (request,) = proxy.requests
        assert request.path == "http://events.example/hook"
        assert request.headers["proxy-authorization"] == "Basic bWU6cGFzcw=="
        with target() as place:
            monkeypatch.setenv("no_proxy", "127.0.0.1")
            send(place.url)
            assert "proxy-authorization" not in place.requests[0].headers


def test_a_failure_names_the_host_and_not_the_url() -> None:
    with pytest.raises(TryLater) as raised:
        send(f"http://127.0.0.1:1/{SECRET}?token=hidden")
    assert str(raised.value) == "network: 127.0.0.1: Connection refused"
