"""Measure how far an integration is behind: events, seconds, bytes of segments; warn before segments are removed."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime

from loader.forwarding.configuration import Configuration
from loader.forwarding.cursor import Progress
from loader.integrations.event import read_events
from loader.spool.reader import Position, SpoolReader
from loader.spool.segment_list import LineCounter, SegmentList

#: Shares of the limit of the backlog at which people are warned, and below which they are warned again.
WARN_SHARES, CALM_SHARE = (0.5, 0.8, 1.0), 0.4
#: Closed segments that are counted at a time, so that a large backlog does not hold up deliveries.
COUNTED_AT_ONCE = 2
#: Seconds over which the rate is averaged.
RATE_SECONDS = 10.0


class Lag:
    """Updates the lag and the rate in the progress of one integration."""

    def __init__(self, configuration: Configuration) -> None:
        self._limit = configuration.backlog_limit
        self._counter = LineCounter()
        self._warned = 0.0
        self._rated_at, self._rated_events = 0.0, 0

    def update(self, progress: Progress, reader: SpoolReader, waiting: int, oldest: bytes | None, now: float) -> None:
        """Set `lag_events`, `lag_seconds`, `waiting_bytes` and `events_per_second`.

        `waiting` events have been read and not delivered; `oldest` is the first of them.
        """
        self._rate(progress, now)
        unread = self._count_unread(reader)
        progress.lag_events = None if unread is None else waiting + unread
        if oldest is not None:
            progress.lag_seconds = max(now - received_at(oldest, now), 0.0)
        elif not progress.lag_events:
            progress.lag_seconds = 0.0
        progress.waiting_bytes = waiting_bytes(reader.segments, progress.position)

    def _count_unread(self, reader: SpoolReader) -> int | None:
        """Return the number of lines after the reader's position; None if some segments are not counted yet."""
        name, is_complete = reader.position.segment, reader.position.is_complete
        segments = {n: p for n, p in reader.segments.read().items() if n > name or (n == name and not is_complete)}
        self._counter.forget_before(name)
        new = [segment for segment in segments if not self._counter.has(segment)]
        for segment in new[:COUNTED_AT_ONCE]:
            self._counter.count(segment, segments[segment])
        if len(new) > COUNTED_AT_ONCE:
            return None
        lines = sum(self._counter.count(segment, path) for segment, path in segments.items())
        return lines - (reader.lines_read if name in segments else 0)

    def warnings(self, progress: Progress) -> Iterator[str]:
        """Yield a warning if the segments that wait have passed a share of the limit since the last one."""
        share = progress.waiting_bytes / self._limit
        passed = max((level for level in WARN_SHARES if share >= level), default=0.0)
        if passed > self._warned:
            self._warned = passed
            todo = "then the oldest are removed" if passed < 1 else "the oldest are removed, once they are loaded"
            yield (
                f"the events that wait take {progress.waiting_bytes / 1e9:,.1f} GB, {share:.0%} of the limit of "
                f"{self._limit / 1e9:,.1f} GB; {todo}"
            )
        if share < CALM_SHARE:
            self._warned = 0.0

    def _rate(self, progress: Progress, now: float) -> None:
        if now < self._rated_at + RATE_SECONDS and self._rated_at:
            return
        if self._rated_at:
            progress.events_per_second = (progress.events_delivered - self._rated_events) / (now - self._rated_at)
        self._rated_at, self._rated_events = now, progress.events_delivered


def waiting_bytes(segments: SegmentList, position: Position) -> int:
    """Return the bytes on disk of the segments that have events after a position, or may get some."""
    size = 0
    for name, path in segments.read().items():
        if name > position.segment or (name == position.segment and not position.is_complete):
            with suppress(OSError):
                size += path.stat().st_size
    return size


def received_at(line: bytes, default: float) -> float:
    """Return when a stored event was received, in seconds since 1970."""
    for event in read_events(line):
        with suppress(ValueError):
            return datetime.fromisoformat(event.text("receivedAt") or "").timestamp()
    return default
