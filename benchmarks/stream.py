"""Measure the endpoint against one of the same framework and server that does nothing.

`python -m benchmarks.stream` starts both, and takes turns between them; `--soak 3600` sends for an hour instead, and
`--attack` measures what senders without a key cost one that has it.
"""

import argparse
import asyncio
import base64
import gzip
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median

import uvloop

from loader.config import Settings
from loader.endpoint.write_keys import create_key
from loader.migrate import migrate
from loader.postgres import embedded
from loader.sample import ndjson as sample
from loader.schema.source import open_warehouse
from tests.support.endpoint import free_port

BATCH = 100
#: An event that takes little of a batch, and much when the fields of its batch are copied into it.
KEYLESS_EVENT = b'{"event":"a","context":{}}'
EMPTY = """
import sys
import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

async def nothing(request: Request) -> JSONResponse:
    return JSONResponse({"success": True})

async def read(request: Request) -> JSONResponse:
    await request.body()
    return JSONResponse({"success": True})

async def main() -> None:
    app = Starlette(routes=[Route("/nothing", nothing, methods=["POST"]), Route("/read", read, methods=["POST"])])
    quiet = {"log_level": "critical", "access_log": False, "server_header": False}
    config = uvicorn.Config(app, port=int(sys.argv[1]), http="httptools", ws="none", lifespan="off", **quiet)
    await uvicorn.Server(config).serve()

uvloop.run(main())
"""


@dataclass(slots=True)
class Measured:
    """Answers a second, percentiles of the time to them in ms, and their statuses."""

    rate: float
    p99: float
    p50: float = 0.0
    statuses: Counter[bytes] = field(default_factory=Counter)


class Sender(asyncio.Protocol):
    """A connection that sends the same request again and again; `pause` seconds apart, or as soon as it is answered."""

    def __init__(self, request: bytes, end: float, pause: float, times: list[float], statuses: Counter[bytes]) -> None:
        self._request, self._end, self._pause = request, end, pause
        self._times, self._statuses = times, statuses
        self._answer = b""
        self._begun = 0.0
        self.closed = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._due = time.perf_counter()
        self._send()

    def _send(self) -> None:
        self._begun = max(self._due, time.perf_counter()) if not self._pause else self._due
        self._answer = b""
        self._transport.write(self._request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self._answer += data
        head, found, body = self._answer.partition(b"\r\n\r\n")
        if not found or len(body) < int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]):
            return
        now = time.perf_counter()
        self._times.append(now - self._begun)
        self._statuses[head[9:12]] += 1
        if now > self._end:
            self._transport.close()
            return
        self._due += self._pause
        if self._due > now:
            asyncio.get_running_loop().call_later(self._due - now, self._send)
        else:
            self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set_result(None)


#: A request, the number of connections that send it, and how many are sent a second; 0 is as fast as it goes.
Stream = tuple[bytes, int, float]


def send(port: int, request: bytes, connections: int, seconds: float, rate: float = 0) -> Measured:
    """Send from many connections, as fast as it goes or at a rate."""
    return send_beside(port, seconds, (request, connections, rate))


def send_beside(port: int, seconds: float, measured: Stream, *others: Stream) -> Measured:
    """Send several requests beside each other, of which the first is measured."""
    times: list[float] = []
    statuses: Counter[bytes] = Counter()

    async def run() -> None:
        loop = asyncio.get_running_loop()
        end = time.perf_counter() + seconds
        senders = []
        for stream in (*others, measured):
            request, connections, rate = stream
            pause = connections / rate if rate else 0
            results = (times, statuses) if stream is measured else ([], Counter())
            for _ in range(connections):
                make = partial(Sender, request, end, pause, *results)
                senders.append((await loop.create_connection(make, "127.0.0.1", port))[1])
                await asyncio.sleep(pause / connections)  # not all at the same moment
        await asyncio.gather(*(sender.closed for sender in senders))

    begun = time.perf_counter()
    uvloop.run(run())
    times.sort()
    p99, p50 = (times[len(times) * share // 100] * 1000 for share in (99, 50))
    return Measured(len(times) / (time.perf_counter() - begun), p99, p50, statuses)


def request(path: str, body: bytes, key: str) -> bytes:
    credentials = base64.b64encode(f"{key}:".encode()).decode()
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: localhost",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        f"Authorization: Basic {credentials}",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


@contextmanager
def running(*command: str, port: int, environment: dict[str, str] | None = None) -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(command, env=os.environ | (environment or {}), stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while embedded._is_free(port):
            if time.monotonic() > deadline:
                raise SystemExit("a server does not start")
            time.sleep(0.1)
        yield process
    finally:
        process.terminate()
        process.wait(60)


def memory(process: "subprocess.Popen[bytes]", field: str = "VmRSS") -> int:
    """Memory of a process in MB."""
    return int(Path(f"/proc/{process.pid}/status").read_text().split(f"{field}:")[1].split()[0]) >> 10


def measure(options: argparse.Namespace, port: int, empty: int, key: str) -> Iterator[tuple[str, str, str]]:
    lines = b"".join(sample.lines(BATCH, seed=1)).splitlines()
    single = request("/v1/track", lines[0], key)
    batch = request("/v1/batch", b'{"batch":[' + b",".join(lines) + b"]}", key)
    nothing, reading, singles, batches = [], [], [], []
    for _ in range(options.rounds):
        nothing.append(send(empty, request("/nothing", lines[0], key), options.connections, options.seconds).rate)
        reading.append(send(empty, request("/read", lines[0], key), options.connections, options.seconds).rate)
        singles.append(send(port, single, options.connections, options.seconds).rate)
        say(f"nothing {nothing[-1]:,.0f}/s, reading {reading[-1]:,.0f}/s, single {singles[-1]:,.0f}/s")
    limit, rate = median(nothing), median(singles)
    half = send(port, single, options.connections, options.seconds * 2, rate / 2)
    for _ in range(options.rounds):
        batches.append(send(port, batch, 20, options.seconds).rate)
    events = median(batches) * BATCH
    yield f"an endpoint that does nothing, {options.connections} connections", f"{limit:,.0f} requests/s", "1"
    yield "one that reads the body", f"{median(reading):,.0f} requests/s", f"{median(reading) / limit:.2f}"
    yield (
        "one event a request, on disk before the answer",
        f"{rate:,.0f} requests/s",
        f"{rate / limit:.2f}; {rate / median(reading):.2f} of the one that reads",
    )
    yield f"batches of {BATCH}", f"{events:,.0f} events/s", f"{events / rate:.1f} times one by one"
    yield f"99th percentile at half the rate ({half.rate:,.0f}/s)", f"{half.p99:.1f} ms", ""


def soak(options: argparse.Namespace, port: int, key: str, process: "subprocess.Popen[bytes]", spool: Path) -> None:
    """Send for long, and say now and then how memory and spool grow."""
    lines = b"".join(sample.lines(BATCH, seed=1)).splitlines()
    body = request("/v1/batch", b'{"batch":[' + b",".join(lines[:10]) + b"]}", key)
    end = time.monotonic() + options.soak
    while time.monotonic() < end:
        done = send(port, body, 20, min(60, options.soak), rate=options.soak_rate)
        waiting = sum(path.stat().st_size for path in spool.glob("*/*.gz"))
        say(
            f"{done.rate * 10:,.0f} events/s, p99 {done.p99:.1f} ms, memory {memory(process)} MB "
            f"(peak {memory(process, 'VmHWM')}), {waiting >> 20} MB wait, {dict(done.statuses)}"
        )


def attack(options: argparse.Namespace, port: int, key: str) -> Iterator[tuple[str, str, str]]:
    """Measure an honest sender of 100 events a second alone, and beside senders without a key."""
    event = next(iter(sample.lines(1, seed=1))).strip()
    honest = request("/v1/track", event, key)
    large = gzip.compress(b'{"context":{"a":"%s"},"batch":[%s]}' % (b"x" * 6000, b",".join([KEYLESS_EVENT] * 2500)))
    small = gzip.compress(b'{"batch":[%s],"writeKey":"x"}' % b",".join([event] * 100))
    for name, body, per_second in (
        ("alone", b"", 0),
        (f"beside batches of 16 MB in {len(large):,} bytes, 28 a second", large, 28),
        (f"beside batches of 16 MB in {len(large):,} bytes, 200 a second", large, 200),
        (f"beside batches of 100 events with a wrong key ({len(small):,} bytes), 200 a second", small, 200),
    ):
        beside = request("/v1/batch", body, "").replace(b"Authorization: Basic Og==", b"Content-Encoding: gzip")
        others = [(beside, 4, per_second)] if body else []
        found = send_beside(port, options.seconds * 2, (honest, 20, 100), *others)
        yield name, f"{found.p50:.1f} ms", f"{found.p99:.1f} ms"


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stream", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--connections", type=int, default=200)
    parser.add_argument("--soak", type=float, default=0, help="seconds to send for, instead of measuring")
    parser.add_argument("--soak-rate", type=float, default=200, help="requests/s then, of 10 events each")
    parser.add_argument("--attack", action="store_true", help="measure one sender beside others without a key, instead")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="selligent-bench-") as folder:
        home = Path(folder)
        home.chmod(0o711)
        settings = Settings(embedded.start(home / "server").url, "bench_stream")
        try:
            migrate(settings)
            with open_warehouse(settings) as warehouse:
                key = create_key(warehouse, "bench")
            compare(options, settings, home / "spool", key)
        finally:
            embedded.stop(home / "server")


def compare(options: argparse.Namespace, settings: Settings, spool: Path, key: str) -> None:
    port, empty = free_port(), free_port()
    every = "10s" if options.soak else "1d"
    how = ["--spool", str(spool), "--schema", settings.schema, "--rate", "0", "--load-every", every, "--keep", "60s"]
    serve = [sys.executable, "-c", "from loader.cli.main import main; main()", "serve", "--port", str(port), *how]
    place = {"SELLIGENT_DATABASE_URL": settings.database_url or ""}
    with running(*serve, port=port, environment=place) as process:
        if options.attack:
            for row in attack(options, port, key):
                print("| " + " | ".join(row) + " |", flush=True)
            return
        if options.soak:
            soak(options, port, key, process, spool)
            return
        with running(sys.executable, "-c", EMPTY, str(empty), port=empty):
            for row in measure(options, port, empty, key):
                print("| " + " | ".join(row) + " |")
            print(f"| peak memory of the server | {memory(process, 'VmHWM')} MB | |")


if __name__ == "__main__":
    main()
