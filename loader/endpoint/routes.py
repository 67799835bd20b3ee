"""The ASGI application: tracking calls, which are answered once their events are in the spool, and the other paths."""

import asyncio
import base64
import binascii
import logging
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from loader.endpoint.key_cache import KeyCache, UnauthorizedRequests
from loader.endpoint.limits import RETRY_AFTER_SECONDS, TokenBucket
from loader.endpoint.metrics import Metrics
from loader.endpoint.openapi import openapi_document
from loader.endpoint.requests import BodyReader, RequestRefused, check_head, read_head, refuse, respond
from loader.endpoint.tracking_calls import BATCH, SINGLE, CallError, max_body_bytes, read_call
from loader.endpoint.write_keys import Key
from loader.spool.writer import FullError, Spool

log = logging.getLogger(__name__)
SUCCESS = b'{"success":true}'


class Receiver:
    """Stores the events of calls in the spool, after checking the write key and its rate limit."""

    def __init__(
        self, key_cache: KeyCache, spool: Spool, metrics: Metrics, unauthorized: UnauthorizedRequests, rate: float
    ) -> None:
        self.spool, self.metrics = spool, metrics
        self._key_cache, self._unauthorized, self._rate = key_cache, unauthorized, rate
        self._buckets: dict[Key, TokenBucket] = {}
        self.reader = BodyReader()

    async def receive(self, kind: str, scope: Scope, receive: Receive) -> None:
        """Read a call and store its events in the spool. Returns when they are on disk.

        Raises RequestRefused if the call has to be answered with an error.
        """
        head = read_head(scope["headers"])
        limit = max_body_bytes(kind)
        try:
            content = await self.reader.read(receive, head, limit)
        except RequestRefused as exc:
            exc.is_unread = True
            raise
        check_head(head)
        key = self._key(_user(head.authorization)) if head.authorization is not None else None
        moment = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        try:
            call = read_call(kind, content, moment)
        except CallError as exc:
            raise RequestRefused(400, str(exc)) from None
        key = key or self._key(call.write_key)
        self._check_rate(key, call.events)
        if call.events:
            await self._store(key.schema, call.lines)
        self.metrics.count_events(key.schema, kind, call.events)

    def count_unauthorized(self, scope: Scope) -> None:
        """Count a request without a valid key by its client address."""
        self._unauthorized.count((scope.get("client") or ("unknown",))[0])

    def _key(self, given: str | None) -> Key:
        if found := self._key_cache.find(given or ""):
            return found
        raise RequestRefused(401, "the write key is missing or invalid")

    def _check_rate(self, key: Key, events: int) -> None:
        if not self._rate:
            return
        bucket = self._buckets.get(key) or self._buckets.setdefault(key, TokenBucket(self._rate))
        if wait := bucket.take(events, time.monotonic()):
            raise RequestRefused(429, "too many events at once", wait)

    async def _store(self, schema: str, lines: bytes) -> None:
        waiting = asyncio.get_running_loop().create_future()
        try:
            self.spool.append(schema, lines, waiting)
        except FullError as exc:
            raise RequestRefused(503, str(exc), RETRY_AFTER_SECONDS) from None
        if await waiting:
            raise RequestRefused(503, "events cannot be stored now", RETRY_AFTER_SECONDS)


def _user(authorization: bytes) -> str | None:
    """Return the user name of Basic authentication; None for another scheme or an invalid header."""
    scheme, _, encoded = authorization.partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        return base64.b64decode(encoded.strip(), validate=True).partition(b":")[0].decode("ascii")
    except (binascii.Error, UnicodeDecodeError):
        return None


def resolve_on_loop(loop: asyncio.AbstractEventLoop) -> Any:
    """Return the callback with which the spool's thread resolves all waiting requests in one call to the event loop."""

    def resolve(waiting: Sequence["asyncio.Future[OSError | None]"], error: OSError | None) -> None:
        for future in waiting:
            if not future.done():
                future.set_result(error)

    def deliver(waiting: Sequence["asyncio.Future[OSError | None]"], error: OSError | None) -> None:
        loop.call_soon_threadsafe(resolve, waiting, error)

    return deliver


class TrackingApp:
    """An ASGI application for tracking calls, which passes all other requests on to another one.

    Tracking calls bypass Starlette's router, which would take a third of the time of a call.
    """

    def __init__(self, receiver: Receiver, others: ASGIApp) -> None:
        self._receiver, self._others = receiver, others
        self._kinds = {f"/v1/{kind}": kind for kind in (*SINGLE, *BATCH)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = self._kinds.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if kind is None:
            await self._others(scope, receive, send)
            return
        receiver = self._receiver
        try:
            await receiver.receive(kind, scope, receive)
        except RequestRefused as exc:
            if exc.status == 401:
                receiver.count_unauthorized(scope)
            receiver.metrics.count_request(exc.status)
            await refuse(send, exc)
        except Exception:
            log.exception("unexpected error in a tracking call")
            receiver.metrics.count_request(500)
            await refuse(send, RequestRefused(500, "internal error; the events are not stored, send them again"))
        else:
            receiver.metrics.count_request(200)
            await respond(send, 200, SUCCESS)


PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


def create_app(receiver: Receiver) -> ASGIApp:
    """Return the ASGI application with all paths of the server."""

    async def health(_: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def ready(_: Request) -> Response:
        is_ready = await asyncio.to_thread(receiver.spool.is_ready)
        return JSONResponse({"status": "ready" if is_ready else "the spool takes no events"}, 200 if is_ready else 503)

    async def metrics(_: Request) -> Response:
        return Response(await asyncio.to_thread(receiver.metrics.text), media_type=PROMETHEUS)

    async def openapi(_: Request) -> Response:
        return JSONResponse(openapi_document())

    async def post_only(_: Request) -> Response:
        raise HTTPException(405)

    routes = [
        *(Route(f"/v1/{kind}", post_only, methods=["POST"]) for kind in (*SINGLE, *BATCH)),
        Route("/healthz", health),
        Route("/readyz", ready),
        Route("/metrics", metrics),
        Route("/openapi.json", openapi),
    ]
    app = Starlette(routes=routes, exception_handlers={HTTPException: _refuse})
    app.router.redirect_slashes = False
    return TrackingApp(receiver, app)


async def _refuse(_: Request, exc: Exception) -> Response:
    status, headers = getattr(exc, "status_code", 500), getattr(exc, "headers", None)
    return JSONResponse({"success": False, "error": getattr(exc, "detail", "")}, status, headers)
