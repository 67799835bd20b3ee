"""Serve: a server from its start to its graceful stop."""

import asyncio
import gc
import logging
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import ExitStack, closing

import uvicorn
import uvloop

from loader.config import Settings
from loader.endpoint.http_connection import LimitedConnection, end_late
from loader.endpoint.key_cache import KeyCache, KeyRefresher, UnauthorizedRequests
from loader.endpoint.limits import BACKLOG, KEEP_ALIVE_SECONDS, SHUTDOWN_SECONDS, ServeOptions
from loader.endpoint.metrics import Metrics
from loader.endpoint.routes import Receiver, create_app, resolve_on_loop
from loader.endpoint.spool_loader import SpoolLoader
from loader.errors import UsageError
from loader.spool.writer import Spool

log = logging.getLogger(__name__)


def serve(sources: Sequence[Settings], plan: ServeOptions) -> None:
    """Take events until a signal ends it.

    Raises BusyError if another server has the spool, UsageError for a port that is taken.
    """
    uvloop.run(_serve(sources, plan))


async def _serve(sources: Sequence[Settings], plan: ServeOptions) -> None:
    loop = asyncio.get_running_loop()
    metrics, unauthorized = Metrics(), UnauthorizedRequests()
    with ExitStack() as opened:
        spool = Spool(plan.spool, [settings.schema for settings in sources], plan.spool_limit, resolve_on_loop(loop))
        opened.enter_context(closing(spool))
        key_cache = KeyCache(sources, plan.spool / "keys.json")
        opened.enter_context(closing(KeyRefresher(key_cache, unauthorized)))
        if not key_cache.count:
            log.warning("there is no write key yet; make one with `selligent-loader keys create`")
        receiver = Receiver(key_cache, spool, metrics, unauthorized, plan.rate)
        watch_spool(metrics, spool)
        server = _server(receiver, plan)

        def stop() -> None:
            server.should_exit = True

        listener = opened.enter_context(_listener(plan.host, plan.port))
        opened.enter_context(closing(SpoolLoader(sources, spool, metrics, plan)))
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)
        opened.callback(asyncio.ensure_future(end_late(server.server_state.connections)).cancel)
        gc.collect()
        gc.freeze()  # what is there now stays: no request waits until all of it was looked through again
        opened.callback(gc.unfreeze)
        print(f"listening on {_address(plan)}", file=sys.stderr, flush=True)
        await server.serve([listener])  # until what came before the signal is answered


def watch_spool(metrics: Metrics, spool: Spool) -> None:
    """Have the spool's figures told."""
    metrics.watch("spool_bytes", "Bytes that are not known to be loaded", lambda: spool.depth)
    metrics.watch("load_lag_seconds", "Since when the oldest event waits to be loaded", spool.age)


def _server(receiver: Receiver, plan: ServeOptions) -> uvicorn.Server:
    certificate, key = plan.tls or (None, None)
    config = uvicorn.Config(
        create_app(receiver),
        http=LimitedConnection,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level=logging.CRITICAL,  # anybody could fill the log with the rest
        access_log=False,
        server_header=False,
        proxy_headers=bool(plan.proxies),
        forwarded_allow_ips=list(plan.proxies),
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )
    try:
        config.load()
    except OSError as exc:
        raise UsageError(f"{certificate} and {key} are no certificate and its key in PEM: {exc.strerror}") from exc
    return uvicorn.Server(config)


def _listener(host: str, port: int) -> socket.socket:
    """Return the socket that is listened on.

    Raises UsageError for an address that is not to be had.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        both = family == socket.AF_INET6 and socket.has_dualstack_ipv6()  # :: is all addresses of IPv4 too
        return socket.create_server((host, port), family=family, backlog=BACKLOG, dualstack_ipv6=both)
    except OSError as exc:
        raise UsageError(f"{host}:{port} cannot be listened on: {exc.strerror}; name another --host or --port") from exc


def _address(plan: ServeOptions) -> str:
    host = f"[{plan.host}]" if ":" in plan.host else plan.host
    return f"{'https' if plan.tls else 'http'}://{host}:{plan.port}"
