"""Report the outcome of a load: to a metrics file for Prometheus' textfile collector, and to a webhook."""

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
#: Outcomes of events, as the ledger counts them.
OUTCOMES = ("loaded", "duplicate", "rejected", "ignored", "suppressed")

Samples = Sequence[tuple[Mapping[str, str], float]]


@dataclass(frozen=True, slots=True, eq=False)
class _Families:
    """A collector of existing metrics, for `CollectorRegistry`."""

    families: Sequence["Metric"]

    def collect(self) -> Iterable["Metric"]:
        return self.families


def write_metrics(path: Path, schema: str, code: int, seconds: float, result: LoadResult | None) -> None:
    """Write the outcome of a load to a metrics file.

    After a failed load, the metrics of the last successful one are kept. The file is replaced as a whole. If it cannot
    be written, that is logged.
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
    """Yield the metrics of every load."""
    own = {"schema": schema}
    yield _gauge(f"{RUN}timestamp_seconds", "End of the last load, successful or not", [(own, time.time())])
    yield _gauge(f"{RUN}exit_code", "Exit code of the last load", [(own, code)])
    yield _gauge(f"{RUN}duration_seconds", "Duration of the last load", [(own, seconds)])


def _success_metrics(schema: str, seconds: float, result: LoadResult) -> Iterator["Metric"]:
    """Yield the metrics of a load that did not fail."""
    own, counts = {"schema": schema}, result.counts
    events: Samples = [({**own, "outcome": name}, counts[f"events_{name}"]) for name in OUTCOMES]
    rows: Samples = [({**own, "table": table}, count) for table, count in sorted(result.tables.items())]
    yield _gauge(f"{SUCCESS}timestamp_seconds", "End of the last load that did not fail", [(own, time.time())])
    yield _gauge(f"{SUCCESS}duration_seconds", "Duration of the last load that did not fail", [(own, seconds)])
    yield _gauge(f"{SUCCESS}files", "Files it read", [(own, result.files)])
    yield _gauge(f"{SUCCESS}events_read", "Events it read", [(own, counts["events_read"])])
    yield _gauge(f"{SUCCESS}events", "Events by outcome", events)
    yield _gauge(f"{SUCCESS}rows", "New rows by table", rows)
    suspect = counts["events_clock_suspect"]
    yield _gauge(f"{SUCCESS}events_clock_suspect", "New events by a wrong clock", [(own, suspect)])
    yield _gauge(f"{SUCCESS}values_discarded", "Discarded values", [(own, counts["values_discarded"])])


def _gauge(name: str, documentation: str, samples: Samples) -> "Metric":
    from prometheus_client import Metric

    metric = Metric(name, documentation, "gauge")
    for labels, value in samples:
        metric.add_sample(name, dict(labels), value)
    return metric


def _read_success_metrics(path: Path) -> list["Metric"]:
    """Return the metrics of the last load that did not fail from the file."""
    from prometheus_client.parser import text_string_to_metric_families

    try:
        families = list(text_string_to_metric_families(path.read_text("utf-8")))
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as exc:
        log.warning("metrics of the last successful load cannot be read from %s: %s", path, type(exc).__name__)
        return []
    return [family for family in families if family.name.startswith(SUCCESS)]


@dataclass(slots=True)
class Report:
    """Holds the result that the body of `report_outcome` sets."""

    result: LoadResult | None = None


@dataclass(frozen=True, slots=True)
class OutcomeReporter:
    """Reports the loads of a source to a metrics file and a webhook, each if given."""

    schema: str
    metrics: Path | None
    incidents: Incidents | None

    def report(self, code: int, error: str, seconds: float, result: LoadResult | None) -> None:
        """Report the exit code of a load, and the error if it is not 0. A busy load is not reported."""
        if code == BusyError.exit_code:  # the running load reports its own outcome
            return
        if self.metrics:
            write_metrics(self.metrics, self.schema, code, seconds, result)
        if self.incidents:
            self.incidents.report_columns()
            if code:
                self.incidents.fail(error)
            else:
                self.incidents.recover()


@contextmanager
def report_outcome(settings: Settings, metrics: Path | None, url: str | None) -> Iterator[Report]:
    """Run a load, and report its exception or result to a metrics file and a webhook.

    Raises UsageError for an invalid URL of the webhook.
    """
    reporter = OutcomeReporter(settings.schema, metrics, Incidents(settings, check_url(url)) if url else None)
    report, started = Report(), time.monotonic()
    if reporter.incidents:
        reporter.incidents.begin()
    try:
        yield report
    except BaseException as exc:
        code = exc.exit_code if isinstance(exc, LoaderError) else LoaderError.exit_code
        reporter.report(code, str(exc) or "interrupted", time.monotonic() - started, None)
        raise
    if report.result:
        error = "; ".join(report.result.errors) or _rejected(report.result)
        reporter.report(report.result.exit_code, error, time.monotonic() - started, report.result)


def _rejected(result: LoadResult) -> str:
    count = result.counts["events_rejected"]
    return f"load {result.load_id}: {count:,} events are rejected; see `selligent-loader rejects list`"
