"""Bodies of requests: read to a limit, and unpacked to a limit."""

import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

from starlette.types import Message, Receive, Send

from loader.endpoint.limits import MAX_READING_BYTES


class RequestRefused(Exception):  # noqa: N818
    """A request that is refused: the status and the reason."""

    def __init__(self, status: int, reason: str, retry_after: int = 0) -> None:
        super().__init__(reason)
        self.status, self.reason, self.retry_after = status, reason, retry_after
        #: Whether not all of its body was read: then the connection ends, since what comes next may be body or request.
        self.is_unread = False


@dataclass(slots=True)
class Head:
    """The headers that count."""

    authorization: bytes | None = None
    content_type: bytes = b""
    encoding: bytes = b""
    length: int = 0


def read_head(headers: Iterable[tuple[bytes, bytes]]) -> Head:
    """Return the headers that count."""
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
    """Raise RequestRefused for what is not JSON by its headers."""
    if head.encoding not in (b"", b"identity", b"gzip"):
        raise RequestRefused(415, "the body may be plain or gzip")
    # Without one, or as plain text, as browsers' beacons send it, it is JSON too.
    kind, _, parameters = head.content_type.lower().partition(b";")
    if kind.strip() not in (b"", b"application/json", b"text/plain"):
        raise RequestRefused(415, "the body must be application/json")
    if b"charset" in parameters and b"utf-8" not in parameters and b"utf8" not in parameters:
        raise RequestRefused(415, "the body must be in UTF-8")


def too_large(limit: int) -> RequestRefused:
    return RequestRefused(400, f"the body has more than {limit >> 10} KB")


class BodyReader:
    """Reads bodies; all of them together take a bounded memory."""

    def __init__(self) -> None:
        self._reading = 0

    async def read(self, receive: Receive, head: Head, limit: int) -> bytes:
        """Return a body, unpacked.

        Raises RequestRefused for one that is too large, does not come, or is not what it is said to be.
        """
        if head.length > limit:
            raise too_large(limit)
        message = await receive()
        is_whole = message["type"] == "http.request" and not message.get("more_body")
        content = message.get("body", b"") if is_whole else await self._read_on(message, receive, limit)
        if len(content) > limit:
            raise too_large(limit)
        return decompress(content, limit) if head.encoding == b"gzip" else content

    async def _read_on(self, message: Message, receive: Receive, limit: int) -> bytes:
        pieces: list[bytes] = []
        size = 0
        try:
            while True:
                if message["type"] != "http.request":
                    raise RequestRefused(408, "the connection was closed before all of the body had come")
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
    """Return what gzip has packed, of which never more than the limit is unpacked.

    Raises RequestRefused for more, and for what is no gzip.
    """
    packed = zlib.decompressobj(31)
    try:
        plain = packed.decompress(content, limit + 1)
    except zlib.error:
        raise RequestRefused(400, "the body is not gzip") from None
    if len(plain) > limit:
        raise too_large(limit)
    if not packed.eof or packed.unused_data:
        raise RequestRefused(400, "the body is not one whole gzip stream")
    return plain


JSON = (b"content-type", b"application/json")


async def respond(send: Send, status: int, content: bytes, *headers: tuple[bytes, bytes]) -> None:
    """Send a response."""
    length = b"content-length", str(len(content)).encode()
    await send({"type": "http.response.start", "status": status, "headers": [JSON, length, *headers]})
    await send({"type": "http.response.body", "body": content})


async def refuse(send: Send, refused: RequestRefused) -> None:
    """Tell a sender why, and when to come again."""
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
