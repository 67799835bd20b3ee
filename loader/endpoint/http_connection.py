"""Connection: HTTP from a socket, within limits of bytes and time that uvicorn leaves to a proxy before it."""

import asyncio
from collections.abc import Collection
from http import HTTPStatus
from typing import Any

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from loader.endpoint.limits import MAX_CONNECTIONS, MAX_HEAD_BYTES, MAX_HEADERS, MAX_REQUEST_BYTES, REQUEST_SECONDS
from loader.endpoint.requests import JSON, as_json


class LimitedConnection(HttpToolsProtocol):
    """A connection of a sender, which ends when a request is too large, too slow, or none.

    One request at a time: who sends the next one before the answer is asked to send it again, by the connection's end
    (RFC 9112, 9.3.2).
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        #: When the request began that is not whole yet, how much of it is there, and whether its body has begun.
        self._begun: float | None = self.loop.time()
        self._size = 0
        self._has_head = False
        #: Since when the other side has not taken what it is sent.
        self._stuck: float | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            self._end(HTTPStatus.SERVICE_UNAVAILABLE, "too many connections at once", (b"retry-after", b"1"))

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        if self._begun is None:
            self._begun = self.loop.time()
        self._size += len(data)
        try:
            self.parser.feed_data(data)
        except HttpParserUpgrade as offer:
            self._decline(data[offer.args[0] :])
        except HttpParserError:
            self._end(HTTPStatus.BAD_REQUEST, "this is not HTTP, or has too many headers")
        if self._begun is not None and self._size > (MAX_REQUEST_BYTES if self._has_head else MAX_HEAD_BYTES):
            self._end(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the headers, or the request, are too large")

    def on_message_begin(self) -> None:
        if self._is_owed():
            raise ValueError("a request before the answer to the last one")
        super().on_message_begin()
        self._begun, self._size, self._has_head = self.loop.time(), 0, False

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(self.headers) == MAX_HEADERS:
            raise ValueError("too many headers")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if not self.parser.should_upgrade():
            super().on_headers_complete()
            self._has_head = True

    def on_message_complete(self) -> None:
        if not self.parser.should_upgrade():
            super().on_message_complete()
            self._begun = None

    def end_if_late(self) -> None:
        """End the connection if its request, or whoever takes the answer, is late; to be called every second or so."""
        now = self.loop.time()
        if not (self.flow.write_paused or self.transport.is_closing()):
            self._stuck = None
        elif self._stuck is None:
            self._stuck = now
        elif self._stuck < now - REQUEST_SECONDS:
            self.transport.abort()
        if self._begun is not None and self._begun < now - REQUEST_SECONDS:
            self._end(HTTPStatus.REQUEST_TIMEOUT, f"the request did not come within {REQUEST_SECONDS:.0f} seconds")

    def _is_owed(self) -> bool:
        """Tell whether a request that is whole waits for its answer."""
        return self.cycle is not None and not self.cycle.more_body and not self.cycle.response_complete

    def _decline(self, rest: bytes) -> None:
        """Take a request as if it offered no other protocol (RFC 9110, 7.8), as Java's client does with each.

        The parser skips its body and what comes after it, so another one reads it again without the offer.
        """
        lines = [b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())]
        has_offer = False
        for name, value in self.headers:
            if name == b"connection":
                lines += [b"connection: close"] * (b"close" in value.lower())
            elif name == b"upgrade":
                has_offer = True
            else:
                lines.append(b"%s: %s" % (name, value))
        if not has_offer:  # CONNECT
            self._end(HTTPStatus.BAD_REQUEST, "this is no proxy")
            return
        self.parser = HttpRequestParser(self)
        self.data_received(b"\r\n".join((*lines, b"", rest)))

    def _end(self, status: HTTPStatus, reason: str, *more: tuple[bytes, bytes]) -> None:
        """Say why, unless a request waits for its answer or had it before all of it was there; close the connection."""
        if self.transport.is_closing():
            return
        if self._is_owed():
            self.cycle.keep_alive = False  # which closes it after the answer
            self.transport.pause_reading()
            return
        if not (self._has_head and self.cycle.response_started):
            body = as_json(reason)
            headers = (JSON, (b"content-length", b"%d" % len(body)), (b"connection", b"close"), *more)
            lines = (b"HTTP/1.1 %d %s" % (status, status.phrase.encode()), *map(b": ".join, headers), b"", body)
            self.transport.write(b"\r\n".join(lines))
        self.transport.close()


async def end_late(connections: Collection[Any]) -> None:
    """End the connections that are late, again and again."""
    while True:
        await asyncio.sleep(1)
        for connection in list(connections):
            connection.end_if_late()
