"""Headers with which browsers let scripts of other origins call the endpoint (CORS), for the origins of write keys."""

from collections.abc import Collection, Iterable

from starlette.types import Send

from loader.endpoint.key_cache import KeyCache
from loader.endpoint.limits import PREFLIGHT_SECONDS

Headers = tuple[tuple[bytes, bytes], ...]
_VARY = b"vary", b"origin"


def allow_origin(key_cache: KeyCache, origin: bytes, schemas: Collection[str] | None = None) -> Headers:
    """Return the headers of an answer to a page of an origin; none if no key of the sources (any if None) allows it.

    Scripts may read how long to wait (`Retry-After`).
    """
    if not origin or not key_cache.is_allowed(origin.decode("latin-1"), schemas):
        return ()
    exposed = b"access-control-expose-headers", b"retry-after"
    return (b"access-control-allow-origin", origin), exposed, _VARY


async def answer_preflight(key_cache: KeyCache, headers: Iterable[tuple[bytes, bytes]], send: Send) -> bool:
    """Answer a browser that asks whether a page may send a call; return False if it may not, without an answer.

    The question comes without a key, so any valid key that allows the origin is enough.
    """
    sent = dict(headers)
    allowed = allow_origin(key_cache, sent.get(b"origin", b""))
    if not allowed or sent.get(b"access-control-request-method") != b"POST":
        return False
    more = [
        (b"access-control-allow-methods", b"POST"),
        (b"access-control-max-age", str(PREFLIGHT_SECONDS).encode()),
        (b"content-length", b"0"),
    ]
    if wanted := sent.get(b"access-control-request-headers"):
        more.append((b"access-control-allow-headers", wanted))
    await send({"type": "http.response.start", "status": 200, "headers": [*allowed, *more]})
    await send({"type": "http.response.body", "body": b""})
    return True
