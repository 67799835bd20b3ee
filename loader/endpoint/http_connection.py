"""Limit the size and duration of HTTP requests per connection, which uvicorn leaves to a reverse proxy."""

import asyncio
from collections.abc import Collection
from http import HTTPStatus
from typing import Any

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from loader.endpoint.limits import (
    MAX_CONNECTIONS,
    MAX_HEAD_BYTES,
    MAX_HEADERS,
    MAX_REQUEST_BYTES,
    REQUEST_SECONDS,
    SHED_CONNECTIONS,
)
from loader.endpoint.requests import JSON, as_json


class LimitedConnection(HttpToolsProtocol):
    """A connection that is closed when a request is too large, too slow or not valid HTTP.

    Requests are not pipelined: if a client sends one before the response to the last, the connection is closed after
    that response, and the client has to send the request again (RFC 9112, 9.3.2).
    """

    #: Connections at a time. Set before the server starts.
    max_connections = MAX_CONNECTIONS

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        #: Start time of the incomplete request, its size so far in bytes, and whether its headers are complete.
        self._started: float | None = self.loop.time()
        self._size = 0
        self._has_head = False
        #: Since when the client has not read the response.
        self._blocked_since: float | None = None
        #: When the connection was opened or the last response was sent, and whether another request has begun since.
        self.idle_since, self.has_begun = self.loop.time(), False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.max_connections and not self._shed_idle():
            self._end(HTTPStatus.SERVICE_UNAVAILABLE, "too many connections at once", (b"retry-after", b"1"))

    @property
    def is_idle(self) -> bool:
        """Whether no headers of a request have been received completely that is not answered."""
        is_between = self._started is None or not self._has_head
        is_answered = self.cycle is None or self.cycle.response_complete
        return is_between and is_answered and not self.transport.is_closing()

    def _shed_idle(self) -> bool:
        """Close the connections that have been idle for longest; return False if no other one is idle."""
        connections: Collection[Any] = self.connections
        idle = [other for other in connections if other is not self and other.is_idle]
        idle.sort(key=lambda other: (other.has_begun, other.idle_since))
        for other in idle[:SHED_CONNECTIONS]:
            other.transport.close()
        return bool(idle)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self.idle_since, self.has_begun = self.loop.time(), False

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        if self._started is None:
            self._started = self.loop.time()
        self._size += len(data)
        try:
            self.parser.feed_data(data)
        except HttpParserUpgrade as offer:
            self._decline(data[offer.args[0] :])
        except HttpParserError:
            self._end(HTTPStatus.BAD_REQUEST, "the request is not valid HTTP, or has too many headers")
        if self._started is not None and self._size > (MAX_REQUEST_BYTES if self._has_head else MAX_HEAD_BYTES):
            self._end(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the headers or the request are too large")

    def on_message_begin(self) -> None:
        if self._has_pending_response():
            raise ValueError("pipelined request")
        super().on_message_begin()
        self._started, self._size, self._has_head, self.has_begun = self.loop.time(), 0, False, True

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
            self._started = None

    def end_if_late(self) -> None:
        """Close the connection if its request or the reading of the response takes too long; call this every second."""
        now = self.loop.time()
        if not (self.flow.write_paused or self.transport.is_closing()):
            self._blocked_since = None
        elif self._blocked_since is None:
            self._blocked_since = now
        elif self._blocked_since < now - REQUEST_SECONDS:
            self.transport.abort()
        if self._started is not None and self._started < now - REQUEST_SECONDS:
            self._end(HTTPStatus.REQUEST_TIMEOUT, f"the request was not received within {REQUEST_SECONDS:.0f} seconds")

    def _has_pending_response(self) -> bool:
        """Return whether a complete request has not been answered yet."""
        return self.cycle is not None and not self.cycle.more_body and not self.cycle.response_complete

    def _decline(self, rest: bytes) -> None:
        """Ignore the `Upgrade` header of a request (RFC 9110, 7.8), which Java's HttpClient sends with every request.

        The parser skips the body of such a request and all that follows. A new parser therefore reads the request
        again, without the header.
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
        if not has_offer:  # a CONNECT request
            self._end(HTTPStatus.BAD_REQUEST, "this server is not a proxy")
            return
        self.parser = HttpRequestParser(self)
        self.data_received(b"\r\n".join((*lines, b"", rest)))

    def _end(self, status: HTTPStatus, reason: str, *more: tuple[bytes, bytes]) -> None:
        """Close the connection, with an error response unless the current request has or will get another response."""
        if self.transport.is_closing():
            return
        if self._has_pending_response():
            self.cycle.keep_alive = False  # closes the connection after the response
            self.transport.pause_reading()
            return
        if not (self._has_head and self.cycle.response_started):
            body = as_json(reason)
            headers = (JSON, (b"content-length", b"%d" % len(body)), (b"connection", b"close"), *more)
            lines = (b"HTTP/1.1 %d %s" % (status, status.phrase.encode()), *map(b": ".join, headers), b"", body)
            self.transport.write(b"\r\n".join(lines))
        self.transport.close()


async def end_late(connections: Collection[Any]) -> None:
    """Close connections that exceed a time limit, checking every second until cancelled."""
    while True:
        await asyncio.sleep(1)
        for connection in list(connections):
            connection.end_if_late()
