"""App: the paths of a server."""

import asyncio

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from loader.calls import BATCH, SINGLE
from loader.openapi import document
from loader.receiver import Calls, Receiver

PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


def app(receiver: Receiver) -> ASGIApp:
    """Return the server's application."""

    async def health(_: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def ready(_: Request) -> Response:
        is_ready = await asyncio.to_thread(receiver.spool.is_ready)
        return JSONResponse({"status": "ready" if is_ready else "the spool takes no events"}, 200 if is_ready else 503)

    async def metrics(_: Request) -> Response:
        return Response(await asyncio.to_thread(receiver.gauges.text), media_type=PROMETHEUS)

    async def openapi(_: Request) -> Response:
        return JSONResponse(document())

    async def post_only(_: Request) -> Response:
        raise HTTPException(405)

    routes = [
        *(Route(f"/v1/{kind}", post_only, methods=["POST"]) for kind in (*SINGLE, *BATCH)),
        Route("/healthz", health),
        Route("/readyz", ready),
        Route("/metrics", metrics),
        Route("/openapi.json", openapi),
    ]
    made = Starlette(routes=routes, exception_handlers={HTTPException: _refuse})
    made.router.redirect_slashes = False
    return Calls(receiver, made)


async def _refuse(_: Request, exc: Exception) -> Response:
    status, headers = getattr(exc, "status_code", 500), getattr(exc, "headers", None)
    return JSONResponse({"success": False, "error": getattr(exc, "detail", "")}, status, headers)
