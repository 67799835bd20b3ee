"""The ASGI application: tracking calls, which are answered once their events are in the spool, and the other paths."""

import asyncio
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

from loader.endpoint.authentication import Keys, UnknownSenders, find_keys_before_body
from loader.endpoint.cross_origin import Headers, allow_origin, answer_preflight
from loader.endpoint.key_cache import KeyCache, UnauthorizedRequests
from loader.endpoint.limits import RETRY_AFTER_SECONDS, TokenBucket
from loader.endpoint.metrics import Metrics
from loader.endpoint.openapi import openapi_document
from loader.endpoint.requests import BodyReader, Head, RequestRefused, read_head, refuse, respond, unpack
from loader.endpoint.tracking_calls import CLIENT_METRICS, PATHS, CallError, max_body_bytes, read_call
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
        self.key_cache, self._unauthorized, self._rate = key_cache, unauthorized, rate
        self._buckets: dict[Key, TokenBucket] = {}
        self._reader, self._unknown = BodyReader(), UnknownSenders(key_cache)

    async def receive(self, kind: str, scope: Scope, receive: Receive) -> tuple[int, Headers]:
        """Read a call and store its events in the spool. Returns when they are on disk.

        Returns the number of events that are rejected already, and headers of the answer. Raises RequestRefused if the
        call has to be answered with an error.
        """
        head = read_head(scope["headers"])
        keys, content = await self._read(head, scope, receive, max_body_bytes(kind))
        moment = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        try:
            call = read_call(kind, content, moment)
        except CallError as exc:
            raise RequestRefused(400, str(exc)) from None
        self._check_rate(keys[0], call.events)
        schemas = [key.schema for key in keys]  # one for each source: its keys differ
        if call.events:
            await self._store([key.log for key in keys], call.lines)
        for schema in schemas:
            self.metrics.count_events(schema, kind, call.events)
        return call.rejected, allow_origin(self.key_cache, head.origin, schemas) if head.origin else ()

    def count_unauthorized(self, scope: Scope) -> None:
        """Count a request without a valid key by its client address."""
        self._unauthorized.count((scope.get("client") or ("unknown",))[0])

    async def _read(self, head: Head, scope: Scope, receive: Receive, limit: int) -> tuple[Keys, bytes]:
        """Return the keys of a call and its body, which is read only then if a key came before it."""
        keys = find_keys_before_body(self.key_cache, head, scope["query_string"])
        if not keys:
            return await self._unknown.read(receive, head, limit)
        try:
            content = await self._reader.read(receive, head, limit)
        except RequestRefused as exc:
            exc.is_unread = True
            raise
        return keys, unpack(content, head, limit)

    def _check_rate(self, key: Key, events: int) -> None:
        if not self._rate:
            return
        bucket = self._buckets.get(key) or self._buckets.setdefault(key, TokenBucket(self._rate))
        if wait := bucket.take(events, time.monotonic()):
            raise RequestRefused(429, "too many events at once", wait)

    async def _store(self, logs: Sequence[str], lines: bytes) -> None:
        """Store lines in logs of the spool, and return when all are on disk."""
        pending = []
        try:
            for log_name in logs:
                waiting = asyncio.get_running_loop().create_future()
                self.spool.append(log_name, lines, waiting)
                pending.append(waiting)
        except FullError as exc:
            raise RequestRefused(503, str(exc), RETRY_AFTER_SECONDS) from None
        for waiting in pending:
            if await waiting:
                raise RequestRefused(503, "events cannot be stored now", RETRY_AFTER_SECONDS)


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
        # Clients for Java and others that are configured with a path may send a slash at its end.
        self._kinds = PATHS | {f"{path}/": kind for path, kind in PATHS.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = self._kinds.get(scope["path"]) if scope["type"] == "http" else None
        if kind is not None and scope["method"] == "POST":
            await self._answer(kind, scope, receive, send)
        elif kind is None or scope["method"] != "OPTIONS" or not await self._answer_preflight(scope, send):
            await self._others(scope, receive, send)

    async def _answer(self, kind: str, scope: Scope, receive: Receive, send: Send) -> None:
        receiver = self._receiver
        try:
            rejected, headers = await receiver.receive(kind, scope, receive)
        except RequestRefused as exc:
            if exc.status == 401:
                receiver.count_unauthorized(scope)
            await self._refuse(exc, scope, send)
        except Exception:
            log.exception("unexpected error in a tracking call")
            error = RequestRefused(500, "internal error; the events are not stored, send them again")
            await self._refuse(error, scope, send)
        else:
            receiver.metrics.count_request(200)
            content = b'{"success":true,"rejected":%d}' % rejected if rejected else SUCCESS
            await respond(send, 200, content, *headers)

    async def _refuse(self, error: RequestRefused, scope: Scope, send: Send) -> None:
        self._receiver.metrics.count_request(error.status)
        await refuse(send, error, *allow_origin(self._receiver.key_cache, read_head(scope["headers"]).origin))

    async def _answer_preflight(self, scope: Scope, send: Send) -> bool:
        return await answer_preflight(self._receiver.key_cache, scope["headers"], send)


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

    async def drop_client_metrics(request: Request) -> Response:
        headers = allow_origin(receiver.key_cache, request.headers.get("origin", "").encode("latin-1"))
        return Response(
            SUCCESS,
            headers={name.decode(): value.decode("latin-1") for name, value in headers},
            media_type="application/json",
        )

    routes = [
        *(Route(f"{path}{slash}", post_only, methods=["POST"]) for path in PATHS for slash in ("", "/")),
        *(Route(f"{CLIENT_METRICS}{slash}", drop_client_metrics, methods=["POST"]) for slash in ("", "/")),
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
