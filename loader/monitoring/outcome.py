"""Metrics: how the last load ended and what the last good one did, in a file that Prometheus' exporters collect."""

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from loader.config import Settings
from loader.errors import BusyError, LoaderError
from loader.monitoring.incidents import Incidents
from loader.monitoring.webhook import check_url
from loader.pipeline.result import LoadResult

if TYPE_CHECKING:
    from prometheus_client import Metric

log = logging.getLogger(__name__)

RUN, SUCCESS = "selligent_loader_last_run_", "selligent_loader_last_success_"
#: What becomes of events, as the ledger counts it.
OUTCOMES = ("loaded", "duplicate", "rejected", "ignored", "suppressed")

Samples = Sequence[tuple[Mapping[str, str], float]]


@dataclass(frozen=True, slots=True, eq=False)
class _Families:
    """What the library writes: metrics that are there already."""

    families: Sequence["Metric"]

    def collect(self) -> Iterable["Metric"]:
        return self.families


def write_metrics(path: Path, schema: str, code: int, seconds: float, result: LoadResult | None) -> None:
    """Write how a load ended, and if it did not fail what it did; else what the last good one did stays.

    Who reads the file meanwhile has the old one or the new one. One that cannot be written is told in the log.
    """
    from prometheus_client import CollectorRegistry, write_to_textfile

    registry = CollectorRegistry(auto_describe=False)
    good = (
        _success_metrics(schema, seconds, result)
        if result and result.status != "failed"
        else _read_success_metrics(path)
    )
    try:
        registry.register(_Families([*_run_metrics(schema, code, seconds), *good]))
        write_to_textfile(str(path), registry)
    except OSError as exc:
        log.warning("metrics cannot be written to %s: %s", path, exc.strerror or exc)


def _run_metrics(schema: str, code: int, seconds: float) -> Iterator["Metric"]:
    """Yield what is known of every load."""
    own = {"schema": schema}
    yield _gauge(f"{RUN}timestamp_seconds", "When the last load ended, whatever came of it", [(own, time.time())])
    yield _gauge(f"{RUN}exit_code", "Exit code of the last load", [(own, code)])
    yield _gauge(f"{RUN}duration_seconds", "How long the last load took", [(own, seconds)])


def _success_metrics(schema: str, seconds: float, result: LoadResult) -> Iterator["Metric"]:
    """Yield what a load did."""
    own, counts = {"schema": schema}, result.counts
    events: Samples = [({**own, "outcome": name}, counts[f"events_{name}"]) for name in OUTCOMES]
    rows: Samples = [({**own, "table": table}, count) for table, count in sorted(result.tables.items())]
    yield _gauge(f"{SUCCESS}timestamp_seconds", "When the last load ended that did not fail", [(own, time.time())])
    yield _gauge(f"{SUCCESS}duration_seconds", "How long it took", [(own, seconds)])
    yield _gauge(f"{SUCCESS}files", "Files it read", [(own, result.files)])
    yield _gauge(f"{SUCCESS}events_read", "Events it found in them", [(own, counts["events_read"])])
    yield _gauge(f"{SUCCESS}events", "Events by what became of them", events)
    yield _gauge(f"{SUCCESS}rows", "New rows by table", rows)
    yield _gauge(f"{SUCCESS}values_discarded", "Values kept apart", [(own, counts["values_discarded"])])


def _gauge(name: str, documentation: str, samples: Samples) -> "Metric":
    from prometheus_client import Metric

    metric = Metric(name, documentation, "gauge")
    for labels, value in samples:
        metric.add_sample(name, dict(labels), value)
    return metric


def _read_success_metrics(path: Path) -> list["Metric"]:
    """Return what the file says of the last good load."""
    from prometheus_client.parser import text_string_to_metric_families

    try:
        families = list(text_string_to_metric_families(path.read_text("utf-8")))
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as exc:
        log.warning("metrics of the last good load cannot be read from %s: %s", path, type(exc).__name__)
        return []
    return [family for family in families if family.name.startswith(SUCCESS)]


@dataclass(slots=True)
class Report:
    """What the body of `watched` has to say: the result, if there is one."""

    result: LoadResult | None = None


@dataclass(frozen=True, slots=True)
class Receivers:
    """Who is told of the loads of a schema: a file of metrics, a webhook."""

    schema: str
    metrics: Path | None
    incidents: Incidents | None

    def tell(self, code: int, error: str, seconds: float, result: LoadResult | None) -> None:
        """Tell with which exit code a load ended; `error` is why if that is not 0."""
        if code == BusyError.exit_code:  # neither a failure nor a success
            return
        if self.metrics:
            write_metrics(self.metrics, self.schema, code, seconds, result)
        if self.incidents:
            self.incidents.change()
            if code:
                self.incidents.fail(error)
            else:
                self.incidents.recover()


@contextmanager
def report_outcome(settings: Settings, metrics: Path | None, url: str | None) -> Iterator[Report]:
    """Tell a file of metrics and a webhook how the body ends, by an exception or with a result.

    Raises UsageError for a webhook's URL that is none.
    """
    watchers = Receivers(settings.schema, metrics, Incidents(settings, check_url(url)) if url else None)
    report, started = Report(), time.monotonic()
    if watchers.incidents:
        watchers.incidents.begin()
    try:
        yield report
    except BaseException as exc:
        code = exc.exit_code if isinstance(exc, LoaderError) else LoaderError.exit_code
        watchers.tell(code, str(exc) or "interrupted", time.monotonic() - started, None)
        raise
    if report.result:
        error = "; ".join(report.result.errors) or _rejected(report.result)
        watchers.tell(report.result.exit_code, error, time.monotonic() - started, report.result)


def _rejected(result: LoadResult) -> str:
    count = result.counts["events_rejected"]
    return f"load {result.load_id}: {count:,} events are rejected; `selligent-loader rejects list` shows them"
