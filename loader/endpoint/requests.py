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
    content_type: bytes = b""
    encoding: bytes = b""
    length: int = 0


def read_head(headers: Iterable[tuple[bytes, bytes]]) -> Head:
    """Return the request headers that the endpoint evaluates."""
    head = Head()
    for name, value in headers:
        if name == b"authorization":
            head.authorization = value
        elif name == b"content-type":
            head.content_type = value
        elif name == b"content-encoding":
            head.encoding = value.strip().lower()
        elif name == b"content-length" and value.isdigit():
            head.length = int(value[:20])
    return head


def check_head(head: Head) -> None:
    """Raise RequestRefused (415) unless the headers describe JSON in UTF-8, plain or gzip."""
    if head.encoding not in (b"", b"identity", b"gzip"):
        raise RequestRefused(415, "the content encoding must be identity or gzip")
    # Browsers' beacons send JSON as text/plain; a missing content type is accepted too.
    kind, _, parameters = head.content_type.lower().partition(b";")
    if kind.strip() not in (b"", b"application/json", b"text/plain"):
        raise RequestRefused(415, "the content type must be application/json")
    if b"charset" in parameters and b"utf-8" not in parameters and b"utf8" not in parameters:
        raise RequestRefused(415, "the body must be in UTF-8")


def too_large(limit: int) -> RequestRefused:
    return RequestRefused(400, f"the body is larger than {limit >> 10} KB")


class BodyReader:
    """Reads request bodies. All incomplete ones together take at most MAX_READING_BYTES."""

    def __init__(self) -> None:
        self._reading = 0

    async def read(self, receive: Receive, head: Head, limit: int) -> bytes:
        """Return a request body, decompressed; `limit` is its maximum size in bytes.

        Raises RequestRefused if it is too large, incomplete, or not valid gzip.
        """
        if head.length > limit:
            raise too_large(limit)
        message = await receive()
        is_whole = message["type"] == "http.request" and not message.get("more_body")
        content = message.get("body", b"") if is_whole else await self._read_rest(message, receive, limit)
        if len(content) > limit:
            raise too_large(limit)
        return decompress(content, limit) if head.encoding == b"gzip" else content

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
                if self._reading > MAX_READING_BYTES:
                    raise RequestRefused(503, "too many requests at once", 1)
                message = await receive()
        finally:
            self._reading -= size


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


JSON = (b"content-type", b"application/json")


async def respond(send: Send, status: int, content: bytes, *headers: tuple[bytes, bytes]) -> None:
    """Send a JSON response."""
    length = b"content-length", str(len(content)).encode()
    await send({"type": "http.response.start", "status": status, "headers": [JSON, length, *headers]})
    await send({"type": "http.response.body", "body": content})


async def refuse(send: Send, refused: RequestRefused) -> None:
    """Send an error response with the reason and the headers that its status needs."""
    headers = []
    if refused.retry_after:
        headers.append((b"retry-after", str(refused.retry_after).encode()))
    if refused.status == 401:
        headers.append((b"www-authenticate", b'Basic realm="write key"'))
    if refused.is_unread:
        headers.append((b"connection", b"close"))
    await respond(send, refused.status, as_json(refused.reason), *headers)


def as_json(reason: str) -> bytes:
    return json.dumps({"success": False, "error": reason}).encode()
