"""Measure forwarding: events a second to a target on this machine, memory, and what it costs the endpoint.

    python -m benchmarks.forwarding [EVENTS]

The target is a process that answers each request at once with 200; it counts bytes and does nothing else.
"""

import asyncio
import multiprocessing
import os
import resource
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.stream import Measured, request, running, send
from loader.config import Settings
from loader.endpoint.write_keys import create_key
from loader.forwarding.clock import Clock
from loader.forwarding.configuration import (
    Configuration,
    NewIntegration,
    add_integration,
    find_integration,
    remove_integration,
)
from loader.forwarding.forwarder import Forwarder
from loader.migrate import migrate
from loader.postgres import embedded
from loader.sample import ndjson
from loader.schema.source import open_warehouse
from loader.spool.writer import Spool
from tests.support.endpoint import free_port

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n" + b'{"success":true}'
#: Bytes of a write to the spool, about a batch of the tracking API.
PIECE = 400_000
#: Events of a request, events a second, and seconds of a turn, for what forwarding costs the endpoint.
BATCH, RATE, SECONDS = 100, 2000, 10.0


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            size = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
            await reader.readexactly(size)
            writer.write(ANSWER)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


def _serve(ports: Any) -> None:
    async def run() -> None:
        server = await asyncio.start_server(_answer, "127.0.0.1", 0, limit=1 << 20)
        ports.put(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


@contextmanager
def target() -> Iterator[str]:
    """Yield the URL of a target that accepts everything."""
    ports: Any = multiprocessing.Queue()
    process = multiprocessing.Process(target=_serve, args=(ports,), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{ports.get(timeout=10)}"
    finally:
        process.kill()


def fill(spool: Path, events: int) -> None:
    """Write sample events to a spool, as the endpoint does, and close the segments."""
    with closing(Spool(spool, ["selligent"], 1 << 40, lambda *_: None)) as opened:
        piece = b""
        for line in ndjson.lines(events, 1):
            piece += line
            if len(piece) > PIECE:
                while opened.depth and opened._pending > PIECE:  # the writing thread has its own speed
                    time.sleep(0.001)
                opened.append("selligent", piece, None)
                piece = b""
        opened.append("selligent", piece, None)


def add(settings: Settings, kind: str, url: str) -> Configuration:
    """Add an integration that events of any age are forwarded to."""
    secret = "whsec_" + "c2VjcmV0" * 6 if kind == "webhook" else "write-key-0123456789"
    new = NewIntegration(kind, kind, {"url": url, "events": "1000"}, secret, allow_http=True, allow_private=True)
    with open_warehouse(settings) as warehouse:
        add_integration(warehouse, new)
        with warehouse.transaction():
            warehouse.fetch("update integrations set created_at = created_at - interval '10 years'")
        return find_integration(warehouse, kind)


def measure_speed(settings: Settings, spool: Path, url: str, events: int) -> None:
    """Forward a full spool to a target that does nothing."""
    fill(spool, events)
    for kind in ("segment", "webhook"):
        place, configuration = spool / settings.schema, add(settings, kind, url)
        forwarder = Forwarder(settings, place, configuration, Clock(), lambda _: True, once=True)
        started, cpu = time.perf_counter(), time.process_time()
        forwarder.run()
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
        assert forwarder.is_done
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        print(
            f"| {kind} | {events / seconds:,.0f} events/s; {events / cpu:,.0f} a second of processor time, {peak} MB |"
        )
        with open_warehouse(settings) as warehouse:
            remove_integration(warehouse, kind)


def measure_receiving(settings: Settings, folder: Path, url: str, rounds: int) -> None:
    """Send to two endpoints in turns, one of which forwards."""
    lines = b"".join(ndjson.lines(BATCH, seed=1)).splitlines()
    with open_warehouse(settings) as warehouse:
        key = create_key(warehouse, "bench")
    body = request("/v1/batch", b'{"batch":[' + b",".join(lines) + b"]}", key)
    add(settings, "segment", url)
    found: dict[str, list[Measured]] = {"alone": [], "with --forward": []}
    with ExitStack() as stack:
        ports = {}
        for name in found:
            port = ports[name] = free_port()
            options = [
                "--port",
                str(port),
                "--spool",
                str(folder / name.strip("- ")),
                "--rate",
                "0",
                "--load-every",
                "1d",
            ]
            command = [sys.executable, "-c", "from loader.cli.main import main; main()", "serve", *options]
            place = {"SELLIGENT_DATABASE_URL": settings.database_url or ""}
            stack.enter_context(running(*command, *["--forward"] * ("-" in name), port=port, environment=place))
        for _ in range(rounds):
            for name, port in ports.items():
                found[name].append(send(port, body, 4, SECONDS, rate=RATE / BATCH))
                wait_for_lag(ports["with --forward"])
    for name, measured in found.items():
        p50, p99 = (median(getattr(one, part) for one in measured) for part in ("p50", "p99"))
        print(f"| receiving {RATE:,} events/s {name} | median {p50:.1f} ms, 99th percentile {p99:.1f} ms |")


def wait_for_lag(port: int) -> None:
    """Wait until an endpoint has forwarded all events."""
    while True:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        if [line for line in lines if line.startswith("selligent_forward_lag_events{") and line.endswith(" 0.0")]:
            return
        time.sleep(0.5)


def main(events: int) -> None:
    with tempfile.TemporaryDirectory(prefix="selligent-bench-") as name, target() as url:
        folder = Path(name)
        folder.chmod(0o711)
        os.environ["SELLIGENT_HOME"] = str(folder / "home")
        settings = Settings(embedded.start(folder / "server").url, "selligent")
        try:
            migrate(settings)
            measure_speed(settings, folder / "spool", url, events)
            measure_receiving(settings, folder, url, 3)
        finally:
            embedded.stop(folder / "server")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200_000)
