"""Gauges: what Prometheus is told of a server."""

import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from loader.version import __version__

PREFIX = "selligent_stream"


class Metrics:
    """Counters of one server, and metrics that are read when asked for."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(f"{PREFIX}_requests", "Calls answered", ["status"], registry=self._registry)
        self._events = Counter(
            f"{PREFIX}_events", "Events answered with 200", ["schema", "call"], registry=self._registry
        )
        self._loads = Counter(f"{PREFIX}_loads", "Loads, by exit code", ["schema", "code"], registry=self._registry)
        self._loaded = Gauge(
            f"{PREFIX}_loaded_timestamp", "When a load last ended well", ["schema"], registry=self._registry
        )
        Gauge(f"{PREFIX}_info", "Version", ["version"], registry=self._registry).labels(__version__).set(1)
        # To find a child by its labels takes longer than to count.
        self._by_status: dict[int, Counter] = {}
        self._by_call: dict[tuple[str, str], Counter] = {}

    def watch(self, name: str, meaning: str, read: Callable[[], float]) -> None:
        """Tell of something that is read when asked for."""
        Gauge(f"{PREFIX}_{name}", meaning, registry=self._registry).set_function(read)

    def request(self, status: int) -> None:
        """Count a call."""
        if status not in self._by_status:
            self._by_status[status] = self._requests.labels(status)
        self._by_status[status].inc()

    def events(self, schema: str, call: str, count: int) -> None:
        """Count events that are safe."""
        if (schema, call) not in self._by_call:
            self._by_call[schema, call] = self._events.labels(schema, call)
        self._by_call[schema, call].inc(count)

    def load(self, schema: str, code: int) -> None:
        """Count a load."""
        self._loads.labels(schema, code).inc()
        if code in (0, 3):
            self._loaded.labels(schema).set(time.time())

    def text(self) -> bytes:
        """Return everything as Prometheus reads it."""
        return generate_latest(self._registry)
