"""Find the write key of a request: in its headers or its URL, before the body is read, or else in the body."""

import asyncio
import base64
import binascii
import re
from urllib.parse import unquote_to_bytes

from starlette.types import Receive

from loader.endpoint.key_cache import KeyCache
from loader.endpoint.limits import (
    MAX_UNKNOWN_READING_BYTES,
    MAX_UNKNOWN_WAITING,
    UNKNOWN_BODY_SECONDS,
    UNKNOWN_PAUSE_FACTOR,
)
from loader.endpoint.requests import BodyReader, Head, RequestRefused, unpack
from loader.endpoint.tracking_calls import find_write_key
from loader.endpoint.write_keys import Key

Keys = tuple[Key, ...]
_IN_URL = re.compile(rb"(?:^|&)writeKey=([^&]{1,400})(?:&|$)")


def find_keys_before_body(key_cache: KeyCache, head: Head, query: bytes) -> Keys:
    """Return the keys for the `Authorization` header or, as RudderStack's beacons have it, for `writeKey` in the URL.

    Empty if there is none, or only an invalid one.
    """
    found: Keys = ()
    if head.authorization is not None and (user := user_name(head.authorization)):
        found = key_cache.find(user, head.user_agent)
    if not found and query and (given := _IN_URL.search(query)):
        found = key_cache.find(unquote_to_bytes(given[1]).decode("latin-1"), head.user_agent)
    return found


def user_name(authorization: bytes) -> str | None:
    """Return the user name of Basic authentication; None for another scheme or an invalid header.

    >>> user_name(b"Basic a2V5Og=="), user_name(b"Bearer a2V5Og==")
    ('key', None)
    """
    scheme, _, encoded = authorization.partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        return base64.b64decode(encoded.strip(), validate=True).partition(b":")[0].decode("ascii")
    except (binascii.Error, UnicodeDecodeError):
        return None


class UnknownSenders:
    """Reads the bodies of requests whose key may be in the body, after requests of senders that are known.

    Such a request can come from anybody. One body at a time is searched for a key, and nothing else is done with it. A
    search without success is followed by a pause, so that these take at most a tenth of the time.
    """

    def __init__(self, key_cache: KeyCache) -> None:
        self._key_cache = key_cache
        self._reader = BodyReader(MAX_UNKNOWN_READING_BYTES)
        self._turn = asyncio.Lock()
        self._waiting = 0
        #: Time of the event loop from which on another body may be searched.
        self._resumes_at = 0.0

    async def read(self, receive: Receive, head: Head, limit: int) -> tuple[Keys, bytes]:
        """Return the keys that match the one in the body, and the body without its encoding.

        Raises RequestRefused if there is no valid key (401), if the body is refused, if it takes too long (408), or if
        too many of these requests are waiting (503).
        """
        content = await self._receive(receive, head, limit)
        if self._waiting >= MAX_UNKNOWN_WAITING:
            raise RequestRefused(503, "too many requests without a write key in the headers", 1)
        self._waiting += 1
        try:
            async with self._turn:
                # At least one round of the event loop, in which requests of known senders are served.
                await asyncio.sleep(max(self._resumes_at - asyncio.get_running_loop().time(), 0))
                return self._search(content, head, limit)
        finally:
            self._waiting -= 1

    async def _receive(self, receive: Receive, head: Head, limit: int) -> bytes:
        try:
            async with asyncio.timeout(UNKNOWN_BODY_SECONDS):
                return await self._reader.read(receive, head, limit)
        except TimeoutError:
            raise _unread(RequestRefused(408, "the body was not received in time")) from None
        except RequestRefused as exc:
            raise _unread(exc) from None

    def _search(self, content: bytes, head: Head, limit: int) -> tuple[Keys, bytes]:
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            content = unpack(content, head, limit)
            if found := self._key_cache.find(find_write_key(content) or "", head.user_agent):
                return found, content
        except RequestRefused:
            self._pause(started)
            raise
        self._pause(started)
        raise RequestRefused(401, "the write key is missing or invalid")

    def _pause(self, started: float) -> None:
        now = asyncio.get_running_loop().time()
        self._resumes_at = now + (now - started) * UNKNOWN_PAUSE_FACTOR


def _unread(refused: RequestRefused) -> RequestRefused:
    refused.is_unread = True
    return refused
