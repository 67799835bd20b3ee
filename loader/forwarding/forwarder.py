"""Forward the events of a spool to one integration, until it is stopped."""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from math import isinf
from pathlib import Path

from loader.config import Settings
from loader.crash_points import crash_point
from loader.errors import LoaderError
from loader.forwarding.clock import Clock
from loader.forwarding.configuration import Configuration, set_status
from loader.forwarding.cursor import Cursor, Progress, spool_id
from loader.forwarding.dead_letters import store_dead_letters
from loader.forwarding.delivery import Delivery, Item, pause
from loader.forwarding.lag import Lag
from loader.forwarding.preparation import Preparation
from loader.integrations.outcomes import Disabled
from loader.pipeline.suppression import Suppression
from loader.schema.source import open_warehouse
from loader.spool.reader import Position, SpoolReader
from loader.spool.segment_list import SegmentList

log = logging.getLogger(__name__)

#: Seconds between looks for new events, and between records of the progress in the database.
POLL_SECONDS, RECORD_SECONDS = 0.25, 1.0
#: Further seconds until the progress is recorded again after the database could not be reached.
DATABASE_RETRY_SECONDS = 10.0
#: Seconds between looks while requests fail.
FAILING_SECONDS = 5.0
#: Seconds for which requests that may succeed soon have to fail before people are notified.
ALERT_AFTER_SECONDS = 60.0
#: Reasons of failures that do not end by themselves.
LASTING = frozenset(
    {"unauthorized", "forbidden", "not_found", "payment_required", "forbidden_address", "forbidden_url", "redirect"}
    | {"wrong_mapping"}
)

#: Sends a message to people, and returns whether it was accepted.
Notify = Callable[[str], bool]


class Forwarder:
    """Reads a spool and delivers to one integration. Runs in one thread, which has its own connection."""

    def __init__(  # noqa: PLR0913
        self, settings: Settings, place: Path, configuration: Configuration, clock: Clock, notify: Notify, *, once: bool
    ) -> None:
        """`place` is the folder of the source in the spool; with `once`, `run` ends at the end of the log."""
        self._settings, self._place, self.configuration = settings, place, configuration
        self._clock, self._notify, self._once = clock, notify, once
        #: Whether all events that were found are delivered or dead letters; for `once`.
        self.is_done = False

    def run(self) -> None:
        """Forward until the clock is stopped; with `once`, until the end of the log or the first failure.

        Raises LoaderError if the database is away at the start, or the integration cannot be opened.
        """
        with open_warehouse(self._settings, f"forward {self.configuration.name}") as warehouse:
            self._warehouse = warehouse
            self._open()
            with closing(self._reader):
                self._repeat()

    def _open(self) -> None:
        configuration = self.configuration
        self._cursor = Cursor(self._place, configuration.integration_id, configuration.name)
        self._spool = spool_id(self._place)
        stored = self._cursor.read(self._warehouse)
        since = None if stored else configuration.created_at
        self._progress = stored or Progress(start_position(self._place, configuration.created_at))
        integration = configuration.open()
        self._suppression = Suppression(self._warehouse)
        self._preparation = Preparation(configuration, integration, since, self._suppression.list)
        self._reader = SpoolReader(self._place, self._progress.position)
        self._lag = Lag(configuration)
        self._delivery = Delivery(
            integration, self._progress, self._bury, self._clock, configuration.retry_for.total_seconds()
        )
        self._saved: Position | None = None
        self._recorded_at, self._problems = 0.0, 0
        self._was_failing = self._is_unrecorded = False

    def _repeat(self) -> None:
        while not self._clock.is_stopped:
            try:
                is_at_end = self._fill()
                self._delivery.is_flushing = self._once and is_at_end
                wait = self._delivery.step()
                self._save(is_at_end and isinf(wait))
                self._problems = 0
                if is_at_end and spool_id(self._place) != self._spool:
                    log.warning("%s: the spool %s was made again", self.configuration.name, self._place)
                    return
            except Disabled as exc:
                self._disable(exc)
                return
            except (LoaderError, OSError) as exc:  # a dead letter or the cursor cannot be stored now
                self._problems += 1
                log.warning("%s: %s; forwarding waits", self.configuration.name, exc)
                self._clock.wait(pause(self._problems))
                wait, is_at_end = 0.0, False
            if self._once and (self._delivery.is_failing or self._problems or (is_at_end and isinf(wait))):
                self.is_done = is_at_end and isinf(wait)
                break
            if wait:
                self._clock.wait(min(wait, FAILING_SECONDS if self._delivery.is_failing else POLL_SECONDS))
        with suppress(LoaderError, OSError):
            self._save(is_idle=True)
            self._record()

    def _fill(self) -> bool:
        """Read events into the window; return whether the end of the log is reached."""
        while self._delivery.has_room():
            block = self._reader.read()
            if block is None:
                return True
            offset = block.offset
            for line in block.lines:
                after = Position(block.segment, offset + len(line) + 1)
                origin, key = f"{self._spool}/{block.segment}@{offset}", f"{self._spool}-{block.segment}-{offset}"
                for item in self._preparation.prepare(line, origin, key, after):
                    self._progress.events_skipped += item.is_done and bool(item.raw)
                    self._delivery.add(item)
                offset = after.offset
        return False

    def _read_suppressed(self) -> None:
        """Take over a list of suppressed people that has changed."""
        with self._warehouse.transaction():
            if self._suppression.is_changed():
                self._preparation.suppressed = self._suppression.list

    def _bury(self, items: Sequence[Item]) -> None:
        """Store dead letters."""
        self._warehouse.retry(
            lambda: store_dead_letters(self._warehouse, self.configuration.integration_id, items), timedelta()
        )
        for item in items:
            log.warning(
                "%s: event %s is not delivered: %s",
                self.configuration.name,
                item.origin,
                item.failure.reason if item.failure else "",
            )

    def _save(self, is_idle: bool) -> None:
        """Store the progress: beside the spool after each step, in the database each second and when nothing waits."""
        after = self._delivery.advance()
        if after is not None:
            self._progress.position = after
        if is_idle and not self._delivery.waiting:
            self._progress.position = self._reader.position
        is_moved = self._progress.position != self._saved
        if is_moved:
            self._cursor.write(self._progress, is_synced=False)
            self._saved = self._progress.position
            crash_point("forward.saved")
        if time.monotonic() >= self._recorded_at + RECORD_SECONDS or (is_moved and is_idle):
            self._record()

    def _record(self) -> None:
        """Store the progress on disk and in the database, with the lag; report failures and recoveries to people."""
        oldest = self._delivery.oldest
        self._lag.update(
            self._progress, self._reader, self._delivery.waiting, oldest.raw if oldest else None, self._clock.time()
        )
        self._alert()
        self._cursor.write(self._progress)
        self._saved = self._progress.position
        self._recorded_at = time.monotonic()
        try:
            self._warehouse.retry(lambda: self._cursor.record(self._warehouse, self._progress), timedelta())
            self._read_suppressed()
        except LoaderError as exc:  # the file beside the spool has the progress, so delivering goes on
            if not self._is_unrecorded:
                log.warning("%s: %s; the progress is recorded later", self.configuration.name, exc)
            self._is_unrecorded = True
            self._recorded_at += DATABASE_RETRY_SECONDS
            return
        self._is_unrecorded = False
        crash_point("forward.recorded")

    def _alert(self) -> None:
        progress, name = self._progress, self.configuration.name
        if bool(progress.failing_since) != self._was_failing:
            self._was_failing = bool(progress.failing_since)
            log.warning("%s: %s", name, f"requests fail: {progress.error}" if self._was_failing else "requests succeed")
        for message in self._lag.warnings(progress):
            log.warning("%s: %s", name, message)
            self._notify(f"forwarding to {name}: {message}")
        if progress.failing_since and progress.alerted_at is None:
            seconds = self._clock.time() - progress.failing_since.timestamp()
            is_lasting = (progress.error or "").partition(":")[0] in LASTING
            if (is_lasting or seconds >= ALERT_AFTER_SECONDS) and self._notify(
                f"forwarding to {name} fails since {progress.failing_since:%Y-%m-%d %H:%M %Z}: {progress.error}"
            ):
                progress.alerted_at = datetime.fromtimestamp(self._clock.time(), UTC)
        elif (
            progress.alerted_at
            and not progress.failing_since
            and self._notify(f"forwarding to {name} works again; it failed: {progress.error}")
        ):
            progress.alerted_at = None

    def _disable(self, reason: Disabled) -> None:
        """Disable the integration, because the target wants no more requests."""
        name = self.configuration.name
        log.error("%s is disabled: %s; `selligent-loader integrations resume %s` enables it", name, reason, name)
        self._notify(f"forwarding to {name} is disabled: {reason}")
        self._save(is_idle=False)
        self._warehouse.retry(lambda: set_status(self._warehouse, name, "disabled", str(reason)), timedelta())


def start_position(place: Path, since: datetime) -> Position:
    """Return where the log begins for an integration that was added at a time: before the first segment written since.

    Segments that were finished before have no event for it.
    """
    earlier = ""
    for name, path in SegmentList(place).read().items():
        try:
            if path.stat().st_mtime >= since.timestamp():
                break
        except OSError:  # it has moved, so it is being written or has just been loaded
            break
        earlier = name
    return Position(earlier, 0, is_complete=True) if earlier else Position()
