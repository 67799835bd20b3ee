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
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from loader.config import Settings
from loader.forwarding.clock import Clock
from loader.forwarding.configuration import NewIntegration, add_integration, find_integration
from loader.forwarding.forwarder import Forwarder
from loader.migrate import migrate
from loader.postgres import embedded
from loader.sample import ndjson
from loader.schema.source import open_warehouse
from loader.spool.writer import Spool

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n" + b'{"success":true}'
#: Bytes of a write to the spool, about a batch of the tracking API.
PIECE = 400_000


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


def main(events: int) -> None:
    with tempfile.TemporaryDirectory() as folder, target() as url:
        home = Path(folder) / "home"
        home.mkdir()
        Path(folder).chmod(0o711)
        os.environ["SELLIGENT_HOME"] = str(home)
        try:
            settings = Settings(embedded.start(home).url, "selligent")
            migrate(settings)
            fill(Path(folder) / "spool", events)
            with open_warehouse(settings) as warehouse:
                for kind, secret in (("segment", "write-key-0123456789"), ("webhook", "whsec_" + "c2VjcmV0" * 6)):
                    given = {"url": url} | ({"events": "1000"} if kind == "webhook" else {})
                    add_integration(
                        warehouse, NewIntegration(kind, kind, given, secret, allow_http=True, allow_private=True)
                    )
                with warehouse.transaction():
                    warehouse.fetch("update integrations set created_at = created_at - interval '10 years'")
            for kind in ("segment", "webhook"):
                with open_warehouse(settings) as warehouse:
                    configuration = find_integration(warehouse, kind)
                forwarder = Forwarder(
                    settings, Path(folder) / "spool" / "selligent", configuration, Clock(), lambda _: True, once=True
                )
                started, cpu = time.perf_counter(), time.process_time()
                forwarder.run()
                seconds = time.perf_counter() - started
                assert forwarder.is_done
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
                print(
                    f"{kind}: {events / seconds:,.0f} events/s, {time.process_time() - cpu:.1f} s of {seconds:.1f} s "
                    f"on the processor, {peak} MB",
                    flush=True,
                )
        finally:
            embedded.stop(home)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200_000)
