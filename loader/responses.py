"""Responses: a status and a JSON body with the reason."""

import json

from starlette.types import Send

from loader.bodies import RefusedError

JSON = (b"content-type", b"application/json")


async def respond(send: Send, status: int, content: bytes, *headers: tuple[bytes, bytes]) -> None:
    """Send a response."""
    length = b"content-length", str(len(content)).encode()
    await send({"type": "http.response.start", "status": status, "headers": [JSON, length, *headers]})
    await send({"type": "http.response.body", "body": content})


async def refuse(send: Send, refused: RefusedError) -> None:
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
