"""Connection: HTTP from a socket, within limits of bytes and time that uvicorn leaves to a proxy before it."""

import asyncio
from collections.abc import Collection
from http import HTTPStatus
from typing import Any

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from loader.calls import MAX_BATCH
from loader.responses import JSON, as_json

#: Bytes of a request's line and headers, and of all of a request, which may come in many chunks.
MAX_HEAD, MAX_REQUEST = 64 << 10, 8 * MAX_BATCH
#: Connections at a time.
MAX_CONNECTIONS = 1024
#: Seconds in which a request must have come, from its first byte on, or from the connection's beginning.
TIMEOUT = 20.0


class Connection(HttpToolsProtocol):
    """A connection of a sender, which ends when a request is too large, too slow, or none."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        #: When the request began that is not whole yet, how much of it is there, and whether its body has begun.
        self._begun: float | None = self.loop.time()
        self._size = 0
        self._has_head = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            self._end(HTTPStatus.SERVICE_UNAVAILABLE, "too many connections at once", (b"retry-after", b"1"))

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except HttpParserUpgrade as offer:
            self._decline(data[offer.args[0] :])
        except HttpParserError:
            self._end(HTTPStatus.BAD_REQUEST, "this is not HTTP")
        if self._begun is not None:
            self._size += len(data)
            if self._has_head and self._size > MAX_REQUEST:
                self._end(HTTPStatus.BAD_REQUEST, "the request is too large")
            elif not self._has_head and self._size > MAX_HEAD:
                self._end(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the headers are too large")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._begun, self._size, self._has_head = self.loop.time(), 0, False

    def on_headers_complete(self) -> None:
        if not self.parser.should_upgrade():
            super().on_headers_complete()
            self._has_head = True

    def on_message_complete(self) -> None:
        if not self.parser.should_upgrade():
            super().on_message_complete()
            self._begun = None

    def end_if_late(self) -> None:
        """End the connection if its request has not come in time; to be called every second or so."""
        if self._begun is not None and self._begun < self.loop.time() - TIMEOUT:
            self._end(HTTPStatus.REQUEST_TIMEOUT, f"the request did not come within {TIMEOUT:.0f} seconds")

    def _decline(self, rest: bytes) -> None:
        """Take a request as if it offered no other protocol (RFC 9110, 7.8), as Java's client does with each.

        The parser skips its body and what comes after it, so another one reads it again without the offer.
        """
        offer = (b"upgrade", b"connection", b"http2-settings")
        headers = [b"%s: %s\r\n" % (name, value) for name, value in self.headers if name not in offer]
        if len(headers) == len(self.headers):  # CONNECT
            self._end(HTTPStatus.BAD_REQUEST, "this is no proxy")
            return
        line = b"%s %s HTTP/1.1\r\n" % (self.parser.get_method(), self.url)
        self.parser = HttpRequestParser(self)
        self.data_received(b"".join((line, *headers, b"\r\n", rest)))

    def _end(self, status: HTTPStatus, reason: str, *more: tuple[bytes, bytes]) -> None:
        """Say why, unless the request was answered before all of it was there, and close the connection."""
        if self.transport.is_closing():
            return
        if not (self._has_head and self.cycle.response_started):
            body = as_json(reason)
            headers = (JSON, (b"content-length", b"%d" % len(body)), (b"connection", b"close"), *more)
            lines = (b"HTTP/1.1 %d %s" % (status, status.phrase.encode()), *map(b": ".join, headers), b"", body)
            self.transport.write(b"\r\n".join(lines))
        self.transport.close()


async def end_late(connections: Collection[Any]) -> None:
    """End the connections whose requests do not come in time, again and again."""
    while True:
        await asyncio.sleep(1)
        for connection in list(connections):
            connection.end_if_late()
