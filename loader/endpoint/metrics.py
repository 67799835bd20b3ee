"""Metrics of a server in the Prometheus text format."""

import time
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from loader.forwarding.cursor import NamedProgress
from loader.version import __version__

PREFIX = "selligent_stream"


class Metrics:
    """Counters of one server, and gauges whose value is read at each scrape."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(f"{PREFIX}_requests", "Answered calls", ["status"], registry=self._registry)
        self._events = Counter(
            f"{PREFIX}_events", "Events answered with status 200", ["schema", "call"], registry=self._registry
        )
        self._loads = Counter(f"{PREFIX}_loads", "Loads, by exit code", ["schema", "code"], registry=self._registry)
        self._loaded = Gauge(
            f"{PREFIX}_loaded_timestamp", "Time of the last load that did not fail", ["schema"], registry=self._registry
        )
        self._refreshes = Counter(
            f"{PREFIX}_refreshes", "Refreshes of the figures, by exit code", ["schema", "code"], registry=self._registry
        )
        self._refreshed = Gauge(
            f"{PREFIX}_refreshed_timestamp",
            "Time of the last refresh that did not fail",
            ["schema"],
            registry=self._registry,
        )
        self._refresh_seconds = Gauge(
            f"{PREFIX}_refresh_seconds", "Duration of that refresh", ["schema"], registry=self._registry
        )
        self._behind = Gauge(
            f"{PREFIX}_figures_behind_events",
            "Loaded events that no refresh has read",
            ["schema"],
            registry=self._registry,
        )
        Gauge(f"{PREFIX}_info", "Version", ["version"], registry=self._registry).labels(__version__).set(1)
        # Cached, because `labels()` takes longer than incrementing the counter.
        self._by_status: dict[int, Counter] = {}
        self._by_call: dict[tuple[str, str], Counter] = {}

    def add_gauge(self, name: str, documentation: str, read: Callable[[], float]) -> None:
        """Add a gauge whose value is read at each scrape."""
        Gauge(f"{PREFIX}_{name}", documentation, registry=self._registry).set_function(read)

    def add_forwarding(self, read: Callable[[], Iterable[NamedProgress]]) -> None:
        """Add the metrics of integrations, which are read at each scrape."""
        self._registry.register(ForwardingCollector(read))

    def count_request(self, status: int) -> None:
        """Count an answered call by status."""
        if status not in self._by_status:
            self._by_status[status] = self._requests.labels(status)
        self._by_status[status].inc()

    def count_events(self, schema: str, call: str, count: int) -> None:
        """Count events that have been stored in the spool."""
        if (schema, call) not in self._by_call:
            self._by_call[schema, call] = self._events.labels(schema, call)
        self._by_call[schema, call].inc(count)

    def count_load(self, schema: str, code: int) -> None:
        """Count a load, and record its time if the exit code is 0 or 3."""
        self._loads.labels(schema, code).inc()
        if code in (0, 3):
            self._loaded.labels(schema).set(time.time())

    def count_refresh(self, schema: str, code: int, seconds: float) -> None:
        """Count a refresh, and record its time and duration if the exit code is 0."""
        self._refreshes.labels(schema, code).inc()
        if code == 0:
            self._refreshed.labels(schema).set(time.time())
            self._refresh_seconds.labels(schema).set(seconds)

    def set_behind(self, schema: str, events: int) -> None:
        """Set the number of loaded events that the figures do not include."""
        self._behind.labels(schema).set(events)

    def text(self) -> bytes:
        """Return all metrics in the Prometheus text format."""
        return generate_latest(self._registry)


#: Metrics of an integration: name, documentation, whether it is a counter, and the value.
_FORWARDING: tuple[tuple[str, str, bool, Callable[[NamedProgress], float | None]], ...] = (
    ("delivered_events", "Events that the target has accepted", True, lambda p: p.progress.events_delivered),
    ("undelivered_events", "Events that became dead letters", True, lambda p: p.progress.events_undelivered),
    ("skipped_events", "Events that were not meant for the target", True, lambda p: p.progress.events_skipped),
    ("events_per_second", "Events delivered a second", False, lambda p: p.progress.events_per_second),
    ("lag_events", "Events that wait", False, lambda p: p.progress.lag_events),
    ("lag_seconds", "Age of the oldest event that waits", False, lambda p: p.lag_seconds(time.time())),
    ("waiting_bytes", "Size of the segments with events that wait", False, lambda p: p.progress.waiting_bytes),
    ("is_failing", "1 while requests fail", False, lambda p: float(p.progress.failing_since is not None)),
    ("reported_timestamp", "When the forwarder last reported", False, lambda p: p.written_at.timestamp()),
)


class ForwardingCollector(Collector):
    """The metrics of integrations, with the labels schema and integration; failures with their reason too."""

    def __init__(self, read: Callable[[], Iterable[NamedProgress]]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        found = list(self._read())
        labels = ["schema", "integration"]
        for name, documentation, is_counter, read in _FORWARDING:
            kind = CounterMetricFamily if is_counter else GaugeMetricFamily
            family = kind(f"selligent_forward_{name}", documentation, labels=labels)
            for progress in found:
                if (value := read(progress)) is not None:
                    family.add_metric([progress.schema, progress.name], value)
            yield family
        failures = CounterMetricFamily("selligent_forward_failures", "Failures by reason", labels=[*labels, "reason"])
        for progress in found:
            for reason, count in progress.progress.failures.items():
                failures.add_metric([progress.schema, progress.name, reason], count)
        yield failures
