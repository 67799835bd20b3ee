"""Hostile input: the server stays available within its memory limits."""

import base64
import gzip
import json
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from loader.endpoint.limits import MAX_CONNECTIONS, SHED_CONNECTIONS
from tests.conftest import clone
from tests.support.endpoint import Server, idle_connections, serving
from tests.support.waiting import until

#: Allowed growth of the server's peak memory, in MB.
GROWTH = 150
EVENT = {"event": "Email Opened", "userId": "1"}


@pytest.fixture(scope="module")
def target(server: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that all tests of this module share."""
    folder = tmp_path_factory.mktemp("hostile") / "spool"
    with clone(server, template) as settings, serving(settings, folder, "--no-load", "--rate", "0") as running:
        yield running


@pytest.fixture(autouse=True)
def is_well(target: Server) -> Iterator[None]:
    """Check that the server accepts events before and after the test, and has not grown."""
    before = target.memory()
    yield
    assert target.post("track", EVENT).status_code == 200
    assert target.client.get("/readyz").status_code == 200
    assert target.memory() - before < GROWTH


def raw(target: Server, *pieces: bytes, seconds: float = 15) -> bytes:
    """Send bytes, and return the response up to the end of the connection or a timeout."""
    with socket.create_connection(("127.0.0.1", target.port), 5) as connection:
        with suppress(OSError):
            for piece in pieces:
                connection.sendall(piece)
        connection.settimeout(seconds)
        with suppress(OSError):
            return answer(connection)
    return b""


def answer(connection: socket.socket) -> bytes:
    """Read one response."""
    read = b""
    while b'"success"' not in read and (block := connection.recv(65536)):
        read += block
    return read


def head(target: Server, length: int, *lines: str) -> bytes:
    credentials = base64.b64encode(f"{target.key}:".encode()).decode()
    fixed = ["POST /v1/batch HTTP/1.1", "Host: x", f"Content-Length: {length}", f"Authorization: Basic {credentials}"]
    return "\r\n".join([*fixed, *lines, "", ""]).encode()


def test_bad_keys_by_the_thousand(target: Server) -> None:
    chance = random.Random(1)
    with httpx.Client(base_url=target.url) as client:
        for _ in range(3000):
            key = chance.randbytes(chance.randrange(1, 60))
            header = (
                b"Basic " + base64.b64encode(key) if chance.random() < 0.8 else key.replace(b"\n", b"").hex().encode()
            )
            answer = client.post("/v1/track", json=EVENT, headers={b"Authorization": header})
            assert answer.status_code == 401
    assert target.log.count(b"\n") < 10


def test_a_body_over_the_limit_is_refused_before_it_is_read(target: Server) -> None:
    begun = time.monotonic()
    assert b" 400 " in raw(target, head(target, 10_000_000_000), b" " * 1000)
    assert time.monotonic() - begun < 5


def test_a_body_without_a_length_is_read_to_the_limit_only(target: Server) -> None:
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    begin = head(target, 0, "Transfer-Encoding: chunked").replace(b"Content-Length: 0\r\n", b"")
    assert b" 400 " in raw(target, begin, *([chunk] * 1000))


def test_gzip_bombs(target: Server) -> None:
    bomb = gzip.compress(b" " * 400_000_000)
    assert len(bomb) < 400_000
    for _ in range(20):
        assert target.post("batch", bomb, headers={"Content-Encoding": "gzip"}).status_code == 400
    nested = gzip.compress(gzip.compress(b" " * 400_000_000))
    assert target.post("batch", nested, headers={"Content-Encoding": "gzip"}).status_code == 400


def test_endless_headers(target: Server) -> None:
    lines = (b"X-%d: %s\r\n" % (n, b"x" * 1000) for n in range(100_000))
    answer = raw(target, b"POST /v1/track HTTP/1.1\r\n", *lines)
    assert not answer or answer.split()[1] in (b"400", b"431")
    assert not (answer := raw(target, b"POST /" + b"x" * 10_000_000)) or answer.split()[1][:1] == b"4"


def test_what_follows_a_refusal_or_a_body_does_not_go_on_for_ever(target: Server) -> None:
    stranger = b"POST /v1/track HTTP/1.1\r\nHost: x\r\nAuthorization: Basic eDo=\r\nContent-Length: 1000000000\r\n\r\n"
    chunked = head(target, 0, "Transfer-Encoding: chunked").replace(b"Content-Length: 0\r\n", b"")
    for begin, more in (
        (stranger, b" " * 0x10000),
        (chunked + b"2\r\n{}\r\n0\r\n", b"X-Trailer: %s\r\n" % (b"x" * 60_000)),
    ):
        with socket.create_connection(("127.0.0.1", target.port), 5) as connection, pytest.raises(ConnectionError):
            connection.sendall(begin)
            for _ in range(1000):
                connection.sendall(more)


@pytest.mark.parametrize("more", [b"POST /v1/track HTTP/1.1\r\n", b"what is no request\r\n\r\n"])
def test_what_comes_before_the_answer_is_not_answered(target: Server, more: bytes) -> None:
    """Only the first request is answered. Then the connection is closed, so the client has to resend the others."""
    body = json.dumps({"batch": [EVENT]}).encode()
    good = head(target, len(body)) + body
    before = target.figure("events_total")
    for rest in (good * 100, more):
        with socket.create_connection(("127.0.0.1", target.port), 5) as connection:
            connection.sendall(good + rest)
            answer = b""
            with suppress(ConnectionResetError):
                while block := connection.recv(65536):
                    answer += block
        assert (answer.count(b"HTTP/1.1"), b"connection: close" in answer) == (1, True)
        assert answer.startswith(b"HTTP/1.1 200 OK")
    assert target.figure("events_total") == before + 2


def test_what_a_batch_says_for_all_is_not_made_larger_than_memory(target: Server) -> None:
    for size, count in ((100_000, 2500), (20_000, 2500)):
        body = b'{"context":{"a":"%s"},"batch":[%s]}' % (b"x" * size, b",".join([b"{}"] * count))
        assert target.post("batch", gzip.compress(body), headers={"Content-Encoding": "gzip"}).status_code == 400
    assert target.figure("spool_bytes") < 10_000_000


def test_a_request_has_few_headers(target: Server) -> None:
    many = b"".join(b"X-%d: a\r\n" % n for n in range(199))
    assert b" 404 " in raw(target, b"GET / HTTP/1.1\r\n" + many + b"\r\n")
    assert b" 400 " in raw(target, b"GET / HTTP/1.1\r\n" + many * 2 + b"\r\n")


def test_an_offer_of_another_protocol_is_not_taken(target: Server) -> None:
    """The header of Java's HttpClient: in one or several packets, with length or chunked, repeated on a connection."""
    offer = ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABk"]
    body = json.dumps({"batch": [EVENT]}).encode()
    chunked = head(target, 0, "Transfer-Encoding: chunked", *offer).replace(b"Content-Length: 0\r\n", b"")
    whole = head(target, len(body), *offer) + body
    requests = (whole, whole, chunked + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
    before = target.figure("events_total")
    for size in (1000, 100, 7):
        with socket.create_connection(("127.0.0.1", target.port), 5) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for request in requests:
                for at in range(0, len(request), size):
                    connection.sendall(request[at : at + size])
                assert b" 200 OK" in answer(connection)
    assert target.figure("events_total") == before + 9
    final = raw(target, whole.replace(b"Upgrade, HTTP2-Settings", b"close, Upgrade"))
    assert (b" 200 " in final, b"connection: close" in final) == (True, True)
    assert b" 400 " in raw(target, b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n")


@pytest.mark.slow
def test_idle_connections_do_not_shut_out_others(target: Server) -> None:
    with idle_connections(target, 1500):
        for _ in range(20):
            assert httpx.post(f"{target.url}/v1/track", json=EVENT, auth=(target.key, "")).status_code == 200


@pytest.mark.slow
def test_requests_above_the_limit_are_asked_to_come_later(target: Server) -> None:
    """A request of which the headers are complete is not given up for another one."""
    busy: list[socket.socket] = []

    def occupy(count: int) -> None:
        for _ in range(count):
            busy.append(connection := socket.create_connection(("127.0.0.1", target.port), 5))
            with suppress(OSError):
                connection.sendall(head(target, 100) + b"{")

    def is_refused() -> bool:
        """Return whether one more connection is refused; otherwise replace those that were closed for it as idle.

        A busy server has not read all headers yet, so some connections still are idle.
        """
        if b" 503 " in raw(target, seconds=0.5):
            return True
        occupy(SHED_CONNECTIONS)
        return False

    try:
        occupy(MAX_CONNECTIONS)
        until(is_refused, 15)
        until(lambda: b" 405 " in raw(target, b"GET /v1/track HTTP/1.1\r\nHost: x\r\n\r\n"), 40)
    finally:
        for connection in busy:
            connection.close()


def percentile(target: Server, seconds: float) -> float:
    """Return the median time in seconds to store one event, for requests one after another."""
    times = []
    end = time.monotonic() + seconds
    while (begun := time.monotonic()) < end:
        assert target.post("track", EVENT).status_code == 200
        times.append(time.monotonic() - begun)
        time.sleep(0.01)
    return sorted(times)[len(times) // 2]


def keyless(key: str | None = None) -> bytes:
    """Return a request of about 1 KB with a batch whose events would take 16 MB, without a key or with a wrong one."""
    context = {"a": "x" * 6000}
    body: dict[str, Any] = {"context": context, "batch": [{"event": "a", "context": {}}] * 2500}
    packed = gzip.compress(json.dumps(body | ({"writeKey": key} if key else {})).encode())
    lines = ["POST /v1/batch HTTP/1.1", "Host: x", f"Content-Length: {len(packed)}", "Content-Encoding: gzip"]
    return "\r\n".join([*lines, "", ""]).encode() + packed


@pytest.mark.parametrize("key", [None, "a-key-that-nobody-has"])
def test_batches_without_a_key_do_not_delay_others(target: Server, key: str | None) -> None:
    request, statuses = keyless(key), Counter[bytes]()
    assert len(request) < 2000
    alone, ending = percentile(target, 1), threading.Event()

    def attack() -> None:
        with socket.create_connection(("127.0.0.1", target.port), 5) as connection:
            while not ending.wait(1 / 30):
                connection.sendall(request)
                statuses[answer(connection).split()[1]] += 1

    attackers = [threading.Thread(target=attack) for _ in range(2)]
    for thread in attackers:
        thread.start()
    beside = percentile(target, 4)
    ending.set()
    for thread in attackers:
        thread.join()
    assert statuses.keys() <= {b"401", b"503"}
    assert statuses[b"401"] > 20
    assert beside < alone * 4 + 0.1


def test_a_body_that_may_have_the_key_has_to_arrive_soon(target: Server) -> None:
    begun = time.monotonic()
    stranger = b"POST /v1/batch HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"
    assert b" 408 " in raw(target, stranger)
    assert 4 < time.monotonic() - begun < 12


@pytest.mark.slow
def test_slow_senders_are_let_go(target: Server) -> None:
    """Clients that never finish their headers, never send the body, or send only line breaks."""
    slow = []
    for n in range(300):
        connection = socket.create_connection(("127.0.0.1", target.port), 5)
        connection.sendall((b"POST /v1/track HT", head(target, 100) + b"{", head(target, 2) + b"{}")[n % 3])
        if n % 3 == 2:
            assert b" 400 " in answer(connection)
            connection.sendall(b"\r\n")  # keeps the connection from being idle
        slow.append(connection)
    begun = time.monotonic()
    assert target.post("track", EVENT).status_code == 200
    assert time.monotonic() - begun < 2
    for connection in slow:
        connection.settimeout(40)
        with suppress(ConnectionResetError):
            last = answer(connection)
            assert not last or last.split()[1] == b"408"
            assert not connection.recv(1000)
        connection.close()


def test_nothing_of_a_request_gets_into_headers_or_logs(target: Server) -> None:
    before = target.log
    evil = "x\r\nSet-Cookie: a=b\r\n\r\n2026-01-01 fake line in the log"
    answers = [
        target.post("track", {**EVENT, "writeKey": evil, "messageId": evil}, auth=None),
        target.post("track", {evil: evil}),
        target.client.post(f"/v1/{evil.encode().hex()}"),
        target.client.get("/v1/%0d%0aSet-Cookie:a=b"),
    ]
    assert all("set-cookie" not in answer.headers for answer in answers)
    assert b"HTTP/1.1 400" in raw(target, b"POST /v1/track HTTP/1.1\r\nHost: x\r\nBad Header\x00: 1\r\n\r\n")
    assert b"fake line" not in target.log[len(before) :]


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x00" * 10_000,
        b"POST /v1/track HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/track HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n{}    ",
        b"POST /v1/track HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/track HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
def test_what_is_no_http(target: Server, request_bytes: bytes) -> None:
    answer = raw(target, request_bytes, seconds=1)
    assert b"200 OK" not in answer
    assert b" 500 " not in answer


def test_random_bodies_are_answered(target: Server) -> None:
    chance = random.Random(7)
    good = json.dumps({"batch": [EVENT] * 3, "sentAt": "2025-01-01T00:00:00Z", "context": {"a": [1, {}]}}).encode()
    for _ in range(1500):
        body = bytearray(good)
        for _ in range(chance.randrange(1, 6)):
            at = chance.randrange(len(body))
            body[at : at + chance.randrange(3)] = chance.randbytes(chance.randrange(3))
        assert target.post("batch", bytes(body)).status_code in (200, 400)


def test_the_openapi_document_is_true(target: Server) -> None:
    """Schemathesis generates requests from the document; each response must match it."""
    schema = schemathesis.openapi.from_dict(target.client.get("/openapi.json").json())
    schema.config.update(base_url=target.url)
    checks = [status_code_conformance, content_type_conformance, response_schema_conformance]

    for found in schema.get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()

        @settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        @given(case=operation.as_strategy())
        def run(case: schemathesis.Case[Any]) -> None:
            case.call_and_validate(auth=(target.key, ""), checks=checks)

        run()
