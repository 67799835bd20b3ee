"""Requests whose key may be in the body: they are searched one at a time, with pauses, and never more than a few."""

import asyncio
import gzip
import json
from collections.abc import Sequence
from typing import Any

import pytest

from loader.endpoint.authentication import UnknownSenders, find_keys_before_body
from loader.endpoint.limits import MAX_UNKNOWN_WAITING
from loader.endpoint.requests import Head, RequestRefused
from loader.endpoint.write_keys import Key

KEY = Key("selligent", 1, b"")
LIMIT = 500 << 10


class OneKey:
    """A cache with one valid key."""

    def find(self, key: str, user_agent: bytes = b"") -> tuple[Key, ...]:
        return (KEY,) if key == "valid-key" else ()


def unknown_senders() -> UnknownSenders:
    return UnknownSenders(OneKey())  # type: ignore[arg-type]


def receiving(*pieces: bytes) -> Any:
    messages = [
        {"type": "http.request", "body": piece, "more_body": number < len(pieces)}
        for number, piece in enumerate(pieces, 1)
    ]

    async def receive() -> Any:
        return messages.pop(0)

    return receive


async def statuses(senders: UnknownSenders, bodies: Sequence[bytes]) -> list[int]:
    """Return the status of each of several requests at once, 200 for those whose key is found."""
    found = await asyncio.gather(
        *(senders.read(receiving(body), Head(), LIMIT) for body in bodies), return_exceptions=True
    )
    return [answer.status if isinstance(answer, RequestRefused) else 200 for answer in found]


@pytest.mark.parametrize(
    ("authorization", "query", "is_found"),
    [
        (b"Basic dmFsaWQta2V5Og==", b"", True),
        (b"Basic eDo=", b"", False),
        (b"Bearer valid-key", b"", False),
        (None, b"writeKey=valid-key", True),
        (b"Basic eDo=", b"a=b&writeKey=valid%2Dkey", True),
        (None, b"writeKey=x", False),
        (None, b"writeKey=\xff%ff&" + b"&" * 60_000, False),
        (None, b"", False),
    ],
)
def test_the_key_is_found_before_the_body_is_read(authorization: bytes | None, query: bytes, is_found: bool) -> None:
    found = find_keys_before_body(OneKey(), Head(authorization), query)  # type: ignore[arg-type]
    assert found == ((KEY,) if is_found else ())


def test_the_body_is_searched_for_the_key() -> None:
    body = json.dumps({"batch": [], "writeKey": "valid-key"}).encode()

    async def run() -> None:
        for content, encoding in ((body, b""), (gzip.compress(body), b"gzip"), (gzip.compress(body), b"")):
            pieces = [content[at : at + 10] for at in range(0, len(content), 10)]
            found = await unknown_senders().read(receiving(*pieces), Head(encoding=encoding), LIMIT)
            assert found == ((KEY,), body)

    asyncio.run(run())


def test_only_a_few_requests_wait_for_the_search() -> None:
    bodies = [b'{"writeKey":"x"}'] * (MAX_UNKNOWN_WAITING + 10)
    found = asyncio.run(statuses(unknown_senders(), bodies))
    assert (found.count(401), found.count(503)) == (MAX_UNKNOWN_WAITING, 10)


def test_searches_without_success_leave_most_of_the_time_to_others() -> None:
    body = b'{"batch":[' + b",".join([b"{}"] * 100_000) + b'],"writeKey":"x"}'

    async def run() -> float:
        loop, senders = asyncio.get_running_loop(), unknown_senders()
        busy = 0.0
        search = senders._search

        def timed(*arguments: Any) -> Any:
            nonlocal busy
            begun = loop.time()
            try:
                return search(*arguments)
            finally:
                busy += loop.time() - begun

        senders._search = timed  # type: ignore[method-assign, assignment]
        begun = loop.time()
        await statuses(senders, [body] * 20)
        return busy / (loop.time() - begun)

    assert asyncio.run(run()) < 0.2
