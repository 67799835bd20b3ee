"""Read and decompress request bodies within limits, and send responses."""

import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

from starlette.types import Message, Receive, Send

from loader.endpoint.limits import MAX_READING_BYTES


class RequestRefused(Exception):  # noqa: N818
    """A request that is answered with an error status and a reason."""

    def __init__(self, status: int, reason: str, retry_after: int = 0) -> None:
        super().__init__(reason)
        self.status, self.reason, self.retry_after = status, reason, retry_after
        #: Whether the body may not have been read completely. Then the connection is closed, because the next bytes may
        #: belong to the body.
        self.is_unread = False


@dataclass(slots=True)
class Head:
    """The request headers that the endpoint evaluates."""

    authorization: bytes | None = None
    encoding: bytes = b""
    length: int = 0
    #: Origin of the page whose script sends the request; empty if the client is not a browser.
    origin: bytes = b""
    user_agent: bytes = b""


def read_head(headers: Iterable[tuple[bytes, bytes]]) -> Head:
    """Return the request headers that the endpoint evaluates."""
    head = Head()
    for name, value in headers:
        if name == b"authorization":
            head.authorization = value
        elif name == b"user-agent":
            head.user_agent = value
        elif name == b"content-encoding":
            head.encoding = value.strip().lower()
        elif name == b"content-length" and value.isdigit():
            head.length = int(value[:20])
        elif name == b"origin":
            head.origin = value
    return head


def too_large(limit: int) -> RequestRefused:
    return RequestRefused(400, f"the body is larger than {limit >> 10} KB")


class BodyReader:
    """Reads request bodies. All incomplete ones together take at most `max_bytes`."""

    def __init__(self, max_bytes: int = MAX_READING_BYTES) -> None:
        self._max_bytes = max_bytes
        self._reading = 0

    async def read(self, receive: Receive, head: Head, limit: int) -> bytes:
        """Return a request body as it was sent; `limit` is its maximum size in bytes.

        Raises RequestRefused if it is too large or incomplete.
        """
        if head.length > limit:
            raise too_large(limit)
        message = await receive()
        is_whole = message["type"] == "http.request" and not message.get("more_body")
        content: bytes = message.get("body", b"") if is_whole else await self._read_rest(message, receive, limit)
        if len(content) > limit:
            raise too_large(limit)
        return content

    async def _read_rest(self, message: Message, receive: Receive, limit: int) -> bytes:
        pieces: list[bytes] = []
        size = 0
        try:
            while True:
                if message["type"] != "http.request":
                    raise RequestRefused(408, "the connection was closed before the body was complete")
                pieces.append(message.get("body", b""))
                size += len(pieces[-1])
                self._reading += len(pieces[-1])
                if not message.get("more_body"):
                    return b"".join(pieces)
                if size > limit:
                    raise too_large(limit)
                if self._reading > self._max_bytes:
                    raise RequestRefused(503, "too many requests at once", 1)
                message = await receive()
        finally:
            self._reading -= size


def unpack(content: bytes, head: Head, limit: int) -> bytes:
    """Return a body without its content encoding.

    The content type is not evaluated: clients send JSON as forms and as plain text. No JSON begins like gzip.

    Raises RequestRefused for an unknown encoding (415), or if the body is too large or not valid gzip.
    """
    if head.encoding not in (b"", b"identity", b"gzip"):
        raise RequestRefused(415, "the content encoding must be identity or gzip")
    return decompress(content, limit) if head.encoding == b"gzip" or content[:2] == GZIP else content


def decompress(content: bytes, limit: int) -> bytes:
    """Decompress a gzip stream to at most `limit` bytes.

    Raises RequestRefused if it is larger, or not a single complete gzip stream.
    """
    packed = zlib.decompressobj(31)
    try:
        plain = packed.decompress(content, limit + 1)
    except zlib.error:
        raise RequestRefused(400, "the body is not gzip") from None
    if len(plain) > limit:
        raise too_large(limit)
    if not packed.eof or packed.unused_data:
        raise RequestRefused(400, "the body is not one complete gzip stream")
    return plain


GZIP = b"\x1f\x8b"
JSON = (b"content-type", b"application/json")


async def respond(send: Send, status: int, content: bytes, *headers: tuple[bytes, bytes]) -> None:
    """Send a JSON response."""
    length = b"content-length", str(len(content)).encode()
    await send({"type": "http.response.start", "status": status, "headers": [JSON, length, *headers]})
    await send({"type": "http.response.body", "body": content})


async def refuse(send: Send, refused: RequestRefused, *more: tuple[bytes, bytes]) -> None:
    """Send an error response with the reason, the headers that its status needs, and `more` headers."""
    headers = [*more]
    if refused.retry_after:
        headers.append((b"retry-after", str(refused.retry_after).encode()))
    if refused.status == 401:
        headers.append((b"www-authenticate", b'Basic realm="write key"'))
    if refused.is_unread:
        headers.append((b"connection", b"close"))
    await respond(send, refused.status, as_json(refused.reason), *headers)


def as_json(reason: str) -> bytes:
    return json.dumps({"success": False, "error": reason}).encode()
