"""Deliver events of a window in batches, with retries; at least once, and in order for each person.

The window has consecutive events of the log. An event leaves it when it is delivered, skipped or stored as a dead
letter and all events before it have left: its position is then the one to go on from after a crash.

- A request that fails as a whole is repeated after a pause; all events wait.
- An event that the target wants again later waits alone, and with it the later events of its person.
- A request that is too large, or is refused because of an event that is not named, is repeated with half of its events.
  The size of batches doubles with each success.
- An event that has failed for `retry_for` since its first failure becomes a dead letter.
"""

import logging
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import inf

from loader.crash_points import crash_point
from loader.forwarding.clock import Clock
from loader.forwarding.cursor import Progress
from loader.integrations.outcomes import DeliveryError, Disabled, Outcome, Refused, TooLarge, TryLater
from loader.integrations.protocol import Batch, Integration, Record
from loader.spool.reader import Position

log = logging.getLogger(__name__)

#: Pause after the first failure in seconds. Each further one is twice as long, up to the maximum, plus or minus 50 %.
FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 1.0, 600.0
#: Bytes of events in the window, as received, and how many batches it may hold.
WINDOW_BYTES, WINDOW_BATCHES = 32 << 20, 4


@dataclass(slots=True)
class Item:
    """An event in the window: its encoded form (None if it is not sent), its place, and what has happened to it."""

    record: Record | None
    raw: bytes
    origin: str
    key: str
    person: str
    after: Position
    attempts: int = 0
    failed_at: float | None = None
    not_before: float = 0.0
    added_at: float = 0.0
    failure: Outcome | None = None
    is_done: bool = False


#: Stores dead letters, each with the failure in `failure`; raises LoaderError if that is not possible now.
Store = Callable[[Sequence[Item]], None]


class Delivery:
    """The window of one integration. For one thread."""

    def __init__(
        self, integration: Integration, progress: Progress, store: Store, clock: Clock, retry_for: float
    ) -> None:
        """`retry_for` is in seconds. `progress` is updated in place, apart from its position."""
        self._integration, self._progress, self._store = integration, progress, store
        self._clock, self._retry_for = clock, retry_for
        self._window: deque[Item] = deque()
        self._size = 0
        self._batch_events = integration.limits.events
        self._resume_at = 0.0
        self._failures_in_row = 0
        #: Whether batches that are not full are sent without waiting for more events.
        self.is_flushing = False

    @property
    def waiting(self) -> int:
        """The number of events in the window that are not done."""
        return sum(not item.is_done for item in self._window)

    @property
    def is_failing(self) -> bool:
        """Whether requests fail now."""
        return self._failures_in_row > 0

    @property
    def oldest(self) -> Item | None:
        """The first event that is not done."""
        return next((item for item in self._window if not item.is_done), None)

    def has_room(self) -> bool:
        """Return whether more events may be added."""
        return self._size < WINDOW_BYTES and len(self._window) < WINDOW_BATCHES * max(
            self._integration.limits.events, 100
        )

    def add(self, item: Item) -> None:
        """Add the next event of the log."""
        item.added_at = self._clock.time()
        self._window.append(item)
        self._size += len(item.raw)

    def advance(self) -> Position | None:
        """Remove the events at the start that are done; return the position after the last of them, if there is one."""
        after = None
        while self._window and self._window[0].is_done:
            item = self._window.popleft()
            self._size -= len(item.raw)
            after = item.after if item.after.segment else after
        return after

    def step(self) -> float:
        """Send one batch if one is due; return the seconds until there is something to do, infinite if nothing waits.

        Raises Disabled if the target wants no more requests, LoaderError if a dead letter cannot be stored now.
        """
        now = self._clock.time()
        self._give_up(now)
        if now < self._resume_at and self.oldest:
            return self._resume_at - now
        batch, is_full = self._next_batch(now)
        if not batch:
            times = (item.not_before for item in self._window if not item.is_done and item.not_before > now)
            return min(times, default=inf) - now
        wait = 0.0 if is_full or self.is_flushing else batch[0].added_at + self._integration.limits.wait - now
        if wait > 0 and self.has_room() and not batch[0].attempts:
            return wait
        self._send(batch)
        return 0.0

    def _next_batch(self, now: float) -> tuple[list[Item], bool]:
        """Return the next events that may be sent, in the order of the log, and whether no more fit into the limits."""
        limits, size, held = self._integration.limits, 0, set()
        batch: list[Item] = []
        for item in self._window:
            if item.is_done or item.record is None:
                continue
            if item.not_before > now or item.person in held:
                held.add(item.person)
                continue
            size += len(item.record.body) + 1
            if batch and (size > limits.size or len(batch) >= self._batch_events):
                return batch, True
            batch.append(item)
        return batch, len(batch) >= self._batch_events

    def _send(self, batch: list[Item]) -> None:
        records = [item.record for item in batch if item.record]
        for item in batch:
            item.attempts += 1
        crash_point("forward.sending")
        try:
            outcomes = self._integration.deliver(Batch(batch[0].key, records))
            if len(outcomes) != len(batch):
                raise TryLater("unexpected", f"{len(outcomes)} outcomes for {len(batch)} events")
        except Disabled as exc:
            self._progress.count_failure(exc.reason)
            raise
        except (TooLarge, Refused) as exc:
            self._split(batch, exc)
        except DeliveryError as exc:
            self._postpone(batch, exc)
        except Exception as exc:
            log.exception("unexpected error in the integration %s", self._integration.name)
            self._postpone(batch, TryLater("unexpected", type(exc).__name__))
        else:
            crash_point("forward.answered")
            self._settle(batch, outcomes)

    def _split(self, batch: list[Item], error: DeliveryError) -> None:
        """Halve the batch; reject the event if it is the only one."""
        self._progress.count_failure(error.reason)
        if len(batch) > 1:
            self._batch_events = len(batch) // 2
            return
        batch[0].failure = Outcome("rejected", error.reason, error.answer, code=error.code)
        self._bury(batch)

    def _postpone(self, batch: list[Item], error: DeliveryError) -> None:
        """Let all events wait."""
        now = self._clock.time()
        self._failures_in_row += 1
        self._resume_at = now + pause(self._failures_in_row, error.retry_after)
        for item in batch:
            _fail(item, Outcome("retry", error.reason, error.answer, code=error.code), now)
        self._progress.count_failure(error.reason)
        self._progress.error = str(error)
        self._progress.failing_since = self._progress.failing_since or datetime.fromtimestamp(now, UTC)

    def _settle(self, batch: list[Item], outcomes: Sequence[Outcome]) -> None:
        """Record the outcomes of a request that was answered."""
        now, progress = self._clock.time(), self._progress
        rejected: list[Item] = []
        delivered = 0
        pauses: dict[object, float] = {}  # alike for all events of the request, so that they go in one again
        for item, outcome in zip(batch, outcomes, strict=True):
            if outcome.status == "delivered":
                item.is_done = True
                delivered += 1
                continue
            progress.count_failure(outcome.reason or outcome.status)
            _fail(item, outcome, now)
            if outcome.status == "rejected":
                rejected.append(item)
            else:
                key = item.attempts, outcome.retry_after
                item.not_before = now + pauses.setdefault(key, pause(*key))
        if delivered:
            progress.events_delivered += delivered
            progress.delivered_at = datetime.fromtimestamp(now, UTC)
        self._failures_in_row, progress.failing_since = 0, None
        self._batch_events = min(2 * self._batch_events, self._integration.limits.events)
        self._bury(rejected)

    def _give_up(self, now: float) -> None:
        """Make dead letters of the events that were rejected before they were sent, or have failed for too long."""
        self._bury([item for item in self._window if not item.is_done and self._has_failed(item, now)])

    def _has_failed(self, item: Item, now: float) -> bool:
        if item.failure is None:
            return False
        return item.failure.status == "rejected" or now - (item.failed_at or now) >= self._retry_for

    def _bury(self, items: Sequence[Item]) -> None:
        if not items:
            return
        self._store(items)
        crash_point("forward.buried")
        for item in items:
            item.is_done = True
        self._progress.events_undelivered += len(items)


def _fail(item: Item, failure: Outcome, now: float) -> None:
    item.failure = failure
    item.failed_at = item.failed_at or now


def pause(failures: int, retry_after: float | None = None) -> float:
    """Return the seconds to wait after so many failures in a row, at least what the target asks for.

    >>> all(0.5 <= pause(1) <= 1.5 and 300 <= pause(99) <= 900 and pause(1, 120) >= 120 for _ in range(100))
    True
    """
    wait: float = min(FIRST_PAUSE_SECONDS * 2 ** min(failures - 1, 30), MAX_PAUSE_SECONDS)
    # Jitter, so that forwarders that wait for the same target do not all come back at once.
    wait *= random.uniform(0.5, 1.5)  # noqa: S311
    return max(wait, (retry_after or 0.0) * random.uniform(1.0, 1.1))  # noqa: S311
