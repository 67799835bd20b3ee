"""Run the HTTP server, from its start to its graceful shutdown."""

import asyncio
import gc
import ipaddress
import logging
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import ExitStack, closing

import uvicorn
import uvloop

from loader.config import Settings
from loader.endpoint.file_limit import raise_file_limit
from loader.endpoint.forwarder_processes import ForwarderProcesses
from loader.endpoint.http_connection import LimitedConnection, end_late
from loader.endpoint.key_cache import KeyCache, KeyRefresher, UnauthorizedRequests
from loader.endpoint.limits import BACKLOG, KEEP_ALIVE_SECONDS, SHUTDOWN_SECONDS, ServeOptions
from loader.endpoint.metrics import Metrics
from loader.endpoint.routes import Receiver, create_app, resolve_on_loop
from loader.endpoint.spool_loader import SpoolLoader
from loader.errors import UsageError
from loader.forwarding.cursor import read_all_progress
from loader.spool.segments import site_log
from loader.spool.writer import Spool

log = logging.getLogger(__name__)


def serve(sources: Sequence[Settings], plan: ServeOptions) -> None:
    """Receive events until SIGTERM or SIGINT.

    Raises BusyError if another server uses the spool, UsageError for an address, spool or certificate that cannot be
    used, SchemaError if a source is not prepared, OutageError if the database is away and no keys are cached.
    """
    uvloop.run(_serve(sources, plan))


async def _serve(sources: Sequence[Settings], plan: ServeOptions) -> None:
    loop = asyncio.get_running_loop()
    metrics, unauthorized = Metrics(), UnauthorizedRequests()
    with ExitStack() as opened:
        logs = [name for settings in sources for name in (settings.schema, site_log(settings.schema))]
        spool = Spool(plan.spool, logs, plan.spool_limit, resolve_on_loop(loop))
        opened.enter_context(closing(spool))
        key_cache = KeyCache(sources, plan.spool / "keys.json")
        opened.enter_context(closing(KeyRefresher(key_cache, unauthorized)))
        if not key_cache.count:
            log.warning("no write key exists; create one with `selligent-loader keys create`")
        LimitedConnection.max_connections, files = raise_file_limit(len(sources))
        if not plan.tls and not is_loopback(plan.host):
            log.warning(
                "events and write keys come to %s unencrypted; use --tls-cert and --tls-key, or listen on 127.0.0.1 "
                "behind a proxy that has the certificate",
                _address(plan),
            )
        receiver = Receiver(key_cache, spool, metrics, unauthorized, plan.rate)
        add_spool_metrics(metrics, spool)
        server = _server(receiver, plan)

        def stop() -> None:
            server.should_exit = True

        listener = opened.enter_context(_listener(plan.host, plan.port))
        opened.enter_context(closing(SpoolLoader(sources, spool, metrics, plan)))
        places = [(s.schema, spool.place(name)) for s in sources for name in (s.schema, site_log(s.schema))]
        metrics.add_forwarding(lambda: read_all_progress(places))
        if plan.is_forwarding:
            opened.enter_context(closing(ForwarderProcesses(sources, plan.spool)))
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)
        opened.callback(asyncio.ensure_future(end_late(server.server_state.connections)).cancel)
        gc.collect()
        gc.freeze()  # exempts all objects so far from collections, which would delay requests
        opened.callback(gc.unfreeze)
        room = f"{LimitedConnection.max_connections:,} connections, {files:,} open files"
        print(f"listening on {_address(plan)} ({room})", file=sys.stderr, flush=True)
        await server.serve([listener])  # returns once all requests before the signal are answered


def add_spool_metrics(metrics: Metrics, spool: Spool) -> None:
    """Add the gauges of the spool."""
    metrics.add_gauge("spool_bytes", "Bytes of events that are not known to be loaded", lambda: spool.depth)
    metrics.add_gauge("load_lag_seconds", "Age of the oldest event that is not known to be loaded", spool.age)


def _server(receiver: Receiver, plan: ServeOptions) -> uvicorn.Server:
    certificate, key = plan.tls or (None, None)
    config = uvicorn.Config(
        create_app(receiver),
        http=LimitedConnection,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level=logging.CRITICAL,  # at lower levels, clients could fill the log
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
        raise UsageError(
            f"certificate {str(certificate)!r} and key {str(key)!r} cannot be used: {exc.strerror}; "
            "name a matching pair in PEM format"
        ) from exc
    return uvicorn.Server(config)


def _listener(host: str, port: int) -> socket.socket:
    """Return a listening socket.

    Raises UsageError if the address cannot be used.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        both = family == socket.AF_INET6 and socket.has_dualstack_ipv6()  # so that :: includes all IPv4 addresses
        return socket.create_server((host, port), family=family, backlog=BACKLOG, dualstack_ipv6=both)
    except OSError as exc:
        raise UsageError(f"cannot listen on '{host}:{port}': {exc.strerror}; choose another --host or --port") from exc


def is_loopback(host: str) -> bool:
    """Return whether only processes of this machine can reach an address.

    >>> [is_loopback(host) for host in ("localhost", "127.0.0.2", "::1", "0.0.0.0", "::", "example.com")]
    [True, True, True, False, False, False]
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() in {"localhost", "localhost.localdomain", "ip6-localhost"}


def _address(plan: ServeOptions) -> str:
    host = f"[{plan.host}]" if ":" in plan.host else plan.host
    return f"{'https' if plan.tls else 'http'}://{host}:{plan.port}"
