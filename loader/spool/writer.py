"""Write events to disk before they are acknowledged; one write and one fsync for all that wait."""

import errno
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from loader.crash_points import crash_point
from loader.errors import BusyError
from loader.spool.retention import Needed, remove_older, remove_oldest
from loader.spool.segments import (
    Segment,
    archive_segment,
    close_segment,
    closed_segments,
    is_same_file,
    is_writable,
    last_number,
    lock_folder,
    make_folders,
    make_places,
    open_segment,
    unfinished_segments,
)

log = logging.getLogger(__name__)

#: Size in bytes from which a segment is closed.
SEGMENT_SIZE = 64 << 20
#: Maximum number of bytes waiting to be written; the senders of more would have timed out.
MAX_PENDING = 64 << 20

#: A source's schema, its lines to write, and the object to pass to `Deliver` then.
Waiting = tuple[str, bytes, Any]
Command = Callable[[], None]
#: Called by the writing thread with those whose lines are on disk, or with the error that prevented it.
Deliver = Callable[[Sequence[Any], OSError | None], None]


class FullError(Exception):
    """The spool accepts no events now; the message says why."""


#: Errors of a full disk, or of a quota.
NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})
#: Seconds between log lines about writes that fail.
FAILURE_LOG_SECONDS = 60.0


class Failures:
    """Logs the first of several failed writes, and how many followed, once every FAILURE_LOG_SECONDS."""

    def __init__(self) -> None:
        self._reported: dict[int | None, float] = {}
        self._count = 0

    def report(self, folder: Path, error: OSError) -> None:
        """Log an error, unless one of its kind has been logged a short time ago."""
        now = time.monotonic()
        self._count += 1
        if now < self._reported.get(error.errno, -FAILURE_LOG_SECONDS) + FAILURE_LOG_SECONDS:
            return
        more = f" ({self._count} failed writes since the last message)" if self._reported else ""
        log.error("events cannot be written to the spool %s: %s; senders get 503%s", folder, error.strerror, more)
        self._reported[error.errno], self._count = now, 0


class Spool:
    """The segments of several sources. One thread writes them, another one compresses them."""

    def __init__(self, folder: Path, schemas: Sequence[str], limit: int, deliver: Deliver) -> None:
        """Lock a folder, created if it is missing, and close the segments that an earlier server left open.

        `limit` is the maximum number of bytes that wait to be loaded. Raises BusyError if another server has the
        folder, UsageError if it is not writable.
        """
        self._folder, self._limit, self._deliver = folder, limit, deliver
        self._lock, self._places = make_folders(folder, schemas)
        self._number = last_number(folder)
        self._segments: dict[str, Segment] = {}
        self._queue: SimpleQueue[Waiting | Command | None] = SimpleQueue()
        self._closed: SimpleQueue[tuple[Path, int] | None] = SimpleQueue()
        #: Protects the five attributes below, and signals that a segment has been compressed.
        self._changed = threading.Condition()
        #: What `_stored` has of each closed segment, by the name without suffix. An erasure may make a file smaller.
        self._sizes: dict[str, int] = {}
        self._stored = self._pending = self._compressing = 0
        self._problem: OSError | None = None
        self._failures = Failures()
        self._needed: Needed = {}
        self._recover()
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._write, self._compress)]
        for thread in self._threads:
            thread.start()

    def append(self, schema: str, lines: bytes, waiting: Any) -> None:
        """Queue lines to be written; `waiting` is passed to the callback when they are on disk.

        Raises FullError if the limit is reached or too many bytes are waiting to be written.
        """
        with self._changed:
            if self._stored + self._pending + len(lines) > self._limit:
                raise FullError("the spool has reached its limit; events are waiting for the database")
            if self._pending > MAX_PENDING:
                raise FullError("events arrive faster than the disk writes them; send them again later")
            self._pending += len(lines)
        self._queue.put((schema, lines, waiting))

    @property
    def depth(self) -> int:
        """Bytes that are not known to be loaded, compressed or not."""
        return self._stored + self._pending

    def age(self) -> float:
        """Return the approximate age in seconds of the oldest event that is not known to be loaded, 0 without one."""
        begun = [time.time() - time.monotonic() + segment.begun for segment in list(self._segments.values())]
        for place in self._places.values():
            begun += [path.stat().st_mtime for path in closed_segments(place)[:1]]
        return max(time.time() - min(begun), 0.0) if begun else 0.0

    def is_ready(self) -> bool:
        """Return whether events can be accepted now. After a failure, this is tested with a file."""
        if not self._is_intact():
            self._queue.put(self._restore)
            return False
        if self._problem and is_writable(self._folder):
            self._problem = None
        return self._problem is None and self.depth < self._limit and self._threads[0].is_alive()

    def rotate(self) -> None:
        """Close all segments, and wait until they are ready to be loaded."""
        done = threading.Event()

        def close_all() -> None:
            for schema in list(self._segments):
                self._close(schema)
            done.set()

        self._queue.put(close_all)
        done.wait()
        with self._changed:
            self._changed.wait_for(lambda: not self._compressing)

    def closed(self, schema: str) -> list[Path]:
        """Return the segments of a source that `load` can read and that are not known to be loaded."""
        return closed_segments(self._places[schema])

    def archive(self, path: Path) -> None:
        """Move a loaded segment to where it is not loaded again."""
        size = path.stat().st_size
        archive_segment(path)
        crash_point("segment.kept")
        with self._changed:
            self._stored -= self._sizes.pop(path.name.partition(".")[0], size)

    def remove_older(self, seconds: float, needed: Needed | None = None) -> None:
        """Remove the loaded segments that were closed more than so many seconds ago and that no integration needs."""
        self._needed = needed or {}
        for place in self._places.values():
            remove_older(place, seconds, self._needed)

    def place(self, schema: str) -> Path:
        """Return the folder of a source."""
        return self._places[schema]

    def close(self) -> None:
        """Write what is queued, close all segments, and unlock the folder."""
        self.rotate()
        self._queue.put(None)
        self._closed.put(None)
        for thread in self._threads:
            thread.join()
        self._lock.close()

    def _recover(self) -> None:
        self._stored = self._measure_closed()
        for place in self._places.values():
            for path, size in unfinished_segments(place):
                self._stored += size
                self._compress_later(path, size)

    def _compress_later(self, path: Path, size: int) -> None:
        with self._changed:
            self._compressing += 1
        self._closed.put((path, size))

    def _write(self) -> None:
        """Write queued lines and run queued commands, until None is queued."""
        while True:
            items = self._take_queued()
            group = [item for item in items if isinstance(item, tuple)]
            for schema in dict.fromkeys(schema for schema, _, _ in group):
                own = [(lines, waiting) for name, lines, waiting in group if name == schema]
                self._store(schema, b"".join(lines for lines, _ in own), [waiting for _, waiting in own])
            for item in items:
                if item is None:
                    return
                if not isinstance(item, tuple):
                    item()

    def _take_queued(self) -> list[Waiting | Command | None]:
        items = [self._queue.get()]
        with suppress(Empty):
            while True:
                items.append(self._queue.get_nowait())
        return items

    def _store(self, schema: str, content: bytes, waiting: Sequence[Any]) -> None:
        error = self._try_write(schema, content)
        while error and error.errno in NO_SPACE and remove_oldest(self._places.values(), self._needed):
            error = self._try_write(schema, content)
        with self._changed:
            self._problem = error
            self._pending -= len(content)
            self._stored += 0 if error else len(content)
        self._deliver(waiting, error)
        if error:
            self._failures.report(self._folder, error)
            self._restore()
        elif self._segments[schema].size >= SEGMENT_SIZE:
            self._close(schema)

    def _try_write(self, schema: str, content: bytes) -> OSError | None:
        try:
            self._segment(schema).write(content)
        except OSError as exc:
            # After a failed fsync, the pages may be lost although the next fsync succeeds. So begin a new segment.
            if segment := self._segments.get(schema):
                segment.cut()
                self._close(schema)
            return exc
        return None

    def _is_intact(self) -> bool:
        """Return whether the folders exist, and the lock is the one of this server."""
        parts = [place / part for place in self._places.values() for part in (".open", ".loaded")]
        return is_same_file(self._lock, self._folder) and all(part.is_dir() for part in parts)

    def _restore(self) -> None:
        """Make the folders again if they have been removed, and begin new segments; the events in them are lost."""
        if self._is_intact():
            return
        for schema in list(self._segments):
            self._segments.pop(schema).close()
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not is_same_file(self._lock, self._folder):
                lock = lock_folder(self._folder)
                self._lock.close()
                self._lock = lock
            make_places(self._folder, self._places.values())
        except (OSError, BusyError) as exc:
            log.debug("the spool %s cannot be made again: %s", self._folder, exc)
            return
        log.error("the spool %s was removed, with events that waited to be loaded; it is made again", self._folder)
        with self._changed:
            self._stored = self._measure_closed()

    def _measure_closed(self) -> int:
        """Return the bytes of all closed segments, and remember those of each."""
        paths = [path for place in self._places.values() for path in closed_segments(place)]
        self._sizes = {path.name.partition(".")[0]: path.stat().st_size for path in paths}
        return sum(self._sizes.values())

    def _segment(self, schema: str) -> Segment:
        if schema not in self._segments:
            self._number += 1
            self._segments[schema] = open_segment(self._places[schema], self._number)
        return self._segments[schema]

    def _close(self, schema: str) -> None:
        segment = self._segments.pop(schema)
        segment.close()
        self._compress_later(segment.path, segment.size)

    def _compress(self) -> None:
        """Compress closed segments, with low priority, until None is queued."""
        if sys.platform == "linux":  # where threads have their own priority
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
        while (item := self._closed.get()) is not None:
            path, size = item
            try:
                grown = close_segment(path, size) - size
            except OSError as exc:
                log.error("%s cannot be moved now and is loaded after the next start: %s", path, exc.strerror)
                grown = 0
            with self._changed:
                self._stored += grown
                self._sizes[path.name.partition(".")[0]] = size + grown
                self._compressing -= 1
                self._changed.notify_all()
