"""Ledger: loads and the files they read, how far, with what result."""

import logging
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from loader.errors import BusyError, LoaderError, TakenError, UnfinishedError, UsageError
from loader.events.outcomes import COUNTS
from loader.inputs.file import File
from loader.pipeline.result import LoadResult
from loader.postgres import advisory_locks
from loader.postgres.connection import Warehouse, operation
from loader.version import __version__

log = logging.getLogger(__name__)
BEGIN = """
    insert into loads (kind, status, host, pid, version, exclusive) values (%s, 'running', %s, %s, %s, %s)
    returning load_id
"""
DONE = """
    select distinct on (uri) uri, size, fingerprint
    from (select uri, size, fingerprint, file_id, status from files where uri = any(%s)) as readings
    where status = 'done'
    order by uri, file_id desc
"""
LAST = """
    select status, position, line from files where uri = %s and size = %s and fingerprint = %s
    order by file_id desc limit 1
"""
OPEN = """
    insert into files (load_id, uri, size, fingerprint, status, position, line)
    values (%s, %s, %s, %s, 'running', %s, %s)
    returning file_id
"""
ADVANCE = f"""
    update files set position = %s, line = %s, {", ".join(f"{name} = {name} + %s" for name in COUNTS)}
    where file_id = %s
"""
#: now() is what the rows have in uuid_ts. Of two chunks begun in the same microsecond the later one is tried again.
RECORD_CHUNK = "insert into chunks (uuid_ts, load_id, events) values (now(), %s, %s)"
CLOSE = "update files set status = %s, error = %s, finished_at = clock_timestamp() where file_id = %s"


@dataclass(frozen=True, slots=True)
class FileCursor:
    """A file that a load reads: where it begins, in bytes after decompression, and the number of the line there."""

    file_id: int
    position: int
    line: int


#: How long a load that failed tries to say so.
FINISH_RETRY_FOR = timedelta(seconds=5)
#: What to do behind a pooler.
POOLER_ADVICE = (
    "the database url leads to a pooler that gives a session to others between transactions (PgBouncer's pool_mode "
    "transaction), but a load keeps locks in its session; name the server's own port, or a pool with pool_mode session"
)


class Ledger:
    """The ledger in the ops schema; what has a chunk's outcome is written in the transaction of its rows."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse

    def begin(self, kind: str = "files", *, exclusive: bool = False) -> int:
        """Return the number of a new load, which counts as dead once all connections that joined it have ended.

        Raises BusyError if another load runs and one of the two is exclusive, UsageError behind a pooler that would
        give our locks away.
        """
        if self._warehouse.is_shared():
            raise UsageError(POOLER_ADVICE)
        with self._warehouse.transaction():
            self._warehouse.lock_in_transaction(advisory_locks.BEGIN)
            for load in read_running_loads(self._warehouse):
                if not load["is_alive"]:
                    self._finish(load["load_id"], "failed", "the loader was killed")
                elif exclusive or load["exclusive"]:
                    raise BusyError(
                        f"load {load['load_id']} has been running since {load['started_at']:%Y-%m-%d %H:%M:%S %Z} on "
                        f"{load['host']} as process {load['pid']}{', and is exclusive' if load['exclusive'] else ''}; "
                        "try again when it has ended"
                    )
            ((load_id,),) = self._warehouse.fetch(
                BEGIN, kind, socket.gethostname(), os.getpid(), __version__, exclusive
            )
            self.join(load_id)
        return int(load_id)

    def join(self, load_id: int) -> None:
        """Keep a load alive as long as this connection."""
        self._warehouse.lock_shared(advisory_locks.LOAD, self._name(load_id))

    def _name(self, load_id: int | str) -> str:
        return f"{self._warehouse.ops}/{load_id}"

    def finish(self, load_id: int, status: str, error: str | None) -> None:
        """Write how a load ended; what it did is the sum of its files."""

        def finish() -> None:
            with self._warehouse.transaction():
                self._finish(load_id, status, error)

        # One that failed may have tried to come back for long enough already.
        self._warehouse.retry(finish, FINISH_RETRY_FOR if status == "failed" else None)

    def _finish(self, load_id: int, status: str, error: str | None) -> None:
        self._warehouse.fetch(operation("close_load"), load_id=load_id, status=status, error=error)

    def unread(self, files: Sequence[File]) -> list[File]:
        """Return the files that have not been read to their end as they are now, and pipes."""
        with self._warehouse.transaction():
            done = set(self._warehouse.fetch(DONE, [file.uri for file in files]))
        return [file for file in files if file.size is None or (file.uri, file.size, file.fingerprint) not in done]

    @contextmanager
    def reading(self, load_id: int, file: File, *, again: bool = False) -> Iterator[FileCursor | None]:
        """Give the body a file to read, from where it was left, or None if it has been read to its end.

        How the body ends is how the reading ends. Raises TakenError if another load reads it.
        """
        key = advisory_locks.FILE, self._name(file.uri)
        if not self._warehouse.retry(lambda: self._warehouse.try_lock(*key)):
            raise TakenError(f"{file.uri} is left to another load, which is reading it")
        reading = self._warehouse.retry(lambda: self._open(load_id, file, again))
        try:
            yield reading
        except BaseException as exc:
            with suppress(LoaderError):
                status = "left" if isinstance(exc, UnfinishedError) else "failed"
                self._close(reading, status, str(exc) or "interrupted")
            raise
        else:
            self._warehouse.retry(lambda: self._close(reading, "done", None))
        finally:
            with suppress(LoaderError):
                self._warehouse.unlock(*key)

    def _open(self, load_id: int, file: File, again: bool) -> FileCursor | None:
        with self._warehouse.transaction():
            last = self._warehouse.fetch(LAST, file.uri, file.size, file.fingerprint) if file.size is not None else []
            status, position, line = last[0] if last and not again else ("failed", 0, 0)
            if status == "done" and not again:
                return None
            ((file_id,),) = self._warehouse.fetch(OPEN, load_id, file.uri, file.size, file.fingerprint, position, line)
        return FileCursor(file_id, position, line + 1)

    def position(self, reading: FileCursor) -> int:
        """Return how far a file has been read, in the transaction at hand."""
        ((position,),) = self._warehouse.fetch("select position from files where file_id = %s", reading.file_id)
        return int(position)

    def save_cursor(self, reading: FileCursor, position: int, line: int, counts: Mapping[str, int]) -> None:
        """Write how far a file has been read, and with what result, in the transaction at hand."""
        self._warehouse.fetch(ADVANCE, position, line, *_values(counts), reading.file_id)

    def record_chunk(self, load_id: int, events: int) -> None:
        """Remember for the next refresh that the transaction at hand has stored events."""
        self._warehouse.fetch(RECORD_CHUNK, load_id, events)

    def _close(self, reading: FileCursor | None, status: str, error: str | None) -> None:
        if reading:
            with self._warehouse.transaction():
                self._warehouse.fetch(CLOSE, status, error, reading.file_id)


#: The columns of `running_loads`.
_RUNNING = (
    *("load_id", "kind", "host", "pid", "started_at", "exclusive", "is_alive"),
    *("uri", "position", "size", "events_read", "files_done", "events_per_second"),
)


def read_running_loads(warehouse: Warehouse) -> list[dict[str, Any]]:
    """Return the loads that the ledger says are running, a row for each file that one reads.

    One that is not alive was killed. Read in the transaction at hand.
    """
    rows = warehouse.fetch(operation("running_loads"), load_lock=advisory_locks.LOAD, ops=warehouse.ops)
    return [dict(zip(_RUNNING, row, strict=True)) for row in rows]


def _values(counts: Mapping[str, int]) -> list[int]:
    return [counts.get(name, 0) for name in COUNTS]


@contextmanager
def record_outcome(ledger: Ledger, result: LoadResult) -> Iterator[None]:
    """Let the body do a load, and write to the ledger how it ended; a dry run is not there."""
    try:
        yield
    except BaseException as exc:
        result.status = "failed"
        result.errors.append(str(exc) or "interrupted")
        raise
    finally:
        if result.load_id is not None:
            with suppress(LoaderError):
                ledger.finish(result.load_id, result.status, "; ".join(result.errors) or None)
