"""Report: how a load ended, to the machines and people that watch it; nothing of it changes how it ends."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from loader.config import Settings
from loader.errors import BusyError, LoaderError
from loader.incidents import Incidents
from loader.metrics import write_metrics
from loader.result import LoadResult
from loader.webhook import check_url


@dataclass(slots=True)
class Report:
    """What the body of `watched` has to say: the result, if there is one."""

    result: LoadResult | None = None


@dataclass(frozen=True, slots=True)
class Watchers:
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
def watched(settings: Settings, metrics: Path | None, url: str | None) -> Iterator[Report]:
    """Tell a file of metrics and a webhook how the body ends, by an exception or with a result.

    Raises UsageError for a webhook's URL that is none.
    """
    watchers = Watchers(settings.schema, metrics, Incidents(settings, check_url(url)) if url else None)
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
