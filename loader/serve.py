"""Serve: a server from its start to its graceful stop."""

import asyncio
import gc
import logging
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import uvloop
from granian.constants import HTTPModes, Interfaces, SSLProtocols
from granian.http import HTTP1Settings
from granian.server.embed import Server

from loader.app import app
from loader.config import Settings
from loader.errors import UsageError
from loader.feed import Feed, Watch
from loader.gauges import Gauges
from loader.keyring import Keyring
from loader.plan import Plan
from loader.receiver import Receiver, deliver_to
from loader.spool import Spool
from loader.strangers import Strangers

log = logging.getLogger(__name__)

#: Milliseconds in which a request's headers must have come, and the bytes they may have.
HEADER_TIMEOUT, HEADER_BYTES = 10_000, 64 << 10
#: Connections that wait to be accepted, requests at a time.
BACKLOG, AT_ONCE = 1024, 1024


def serve(sources: Sequence[Settings], plan: Plan) -> None:
    """Take events until a signal ends it.

    Raises BusyError if another server has the spool, UsageError for a port that is taken.
    """
    uvloop.run(_serve(sources, plan))


async def _serve(sources: Sequence[Settings], plan: Plan) -> None:
    loop = asyncio.get_running_loop()
    gauges, strangers = Gauges(), Strangers()
    with ExitStack() as opened:
        spool = Spool(plan.spool, [settings.schema for settings in sources], plan.spool_limit, deliver_to(loop))
        opened.enter_context(closing(spool))
        keyring = Keyring(sources, plan.spool / "keys.json")
        opened.enter_context(closing(Watch(keyring, strangers)))
        if not keyring.count:
            log.warning("there is no write key yet; make one with `selligent-loader keys create`")
        receiver = Receiver(keyring, spool, gauges, strangers, plan.rate)
        watch_spool(gauges, spool)
        server = _server(receiver, plan)
        opened.enter_context(closing(Feed(sources, spool, gauges, plan)))
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, server.stop)
        opened.callback(asyncio.ensure_future(_end_late(receiver)).cancel)
        gc.collect()
        gc.freeze()  # what is there now stays: no request waits until all of it was looked through again
        print(f"listening on {_address(plan)}", file=sys.stderr, flush=True)
        await server.serve()  # until what came before the signal is answered


def watch_spool(gauges: Gauges, spool: Spool) -> None:
    """Have the spool's figures told."""
    gauges.watch("spool_bytes", "Bytes that are not known to be loaded", lambda: spool.depth)
    gauges.watch("load_lag_seconds", "Since when the oldest event waits to be loaded", spool.age)


def _server(receiver: Receiver, plan: Plan) -> Server:
    _check_port(plan.host, plan.port)
    certificate, key = plan.tls or (None, None)
    return Server(
        app(receiver, plan.proxies),
        address=plan.host,
        port=plan.port,
        interface=Interfaces.ASGINL,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=HEADER_TIMEOUT, max_buffer_size=HEADER_BYTES),
        websockets=False,
        backlog=BACKLOG,
        backpressure=AT_ONCE,
        log_enabled=False,
        ssl_cert=_existing(certificate),
        ssl_key=_existing(key),
        ssl_protocol_min=SSLProtocols.tls12,
    )


def _existing(path: Path | None) -> Path | None:
    if path and not path.is_file():
        raise UsageError(f"{str(path)!r} is no file; name the certificate and its key, in PEM")
    return path


def _check_port(host: str, port: int) -> None:
    """Raise UsageError for an address that is not free: the server itself would share it with another."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            probe.listen(1)
    except OSError as exc:
        raise UsageError(f"{host}:{port} cannot be listened on: {exc.strerror}; name another --host or --port") from exc


def _address(plan: Plan) -> str:
    host = f"[{plan.host}]" if ":" in plan.host else plan.host
    return f"{'https' if plan.tls else 'http'}://{host}:{plan.port}"


async def _end_late(receiver: Receiver) -> None:
    while True:
        await asyncio.sleep(1)
        receiver.reader.end_late()
