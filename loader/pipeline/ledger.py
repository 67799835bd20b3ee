"""Record loads in the ops schema: which files each reads, up to which position, and with what result."""

import logging
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from loader.errors import BusyError, DeclaredDeadError, LoaderError, TakenError, UnfinishedError, UsageError
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
    """The row of a file in the ledger, and where reading starts: bytes after decompression, and the line number."""

    file_id: int
    position: int
    line: int


#: How long a failed load tries to record its failure.
FINISH_RETRY_FOR = timedelta(seconds=5)
#: Error for a pooler in transaction mode, where advisory locks of a session have no effect.
POOLER_ADVICE = (
    "the database url leads to a pooler that shares sessions between transactions (PgBouncer's pool_mode transaction), "
    "but a load holds advisory locks in its session; use the server's own port, or a pool with pool_mode session"
)


class Ledger:
    """The tables `loads` and `files`. The outcome of a chunk is written in the transaction of its rows."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse

    def begin(self, kind: str = "files", *, exclusive: bool = False) -> int:
        """Start a load and return its number. It is alive while at least one connection that joined it is open.

        Raises BusyError if another load is running and one of the two is exclusive, UsageError for a connection
        through a pooler in transaction mode.
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
        """Mark a load as alive until this connection is closed."""
        self._warehouse.lock_shared(advisory_locks.LOAD, self._name(load_id))

    def _name(self, load_id: int | str) -> str:
        return f"{self._warehouse.ops}/{load_id}"

    def finish(self, load_id: int, status: str, error: str | None) -> None:
        """Record how a load ended, with the sums of its files as counts."""

        def finish() -> None:
            with self._warehouse.transaction():
                self._finish(load_id, status, error)

        # A failed load may have spent its whole retry time already.
        self._warehouse.retry(finish, FINISH_RETRY_FOR if status == "failed" else None)

    def _finish(self, load_id: int, status: str, error: str | None) -> None:
        # Wait for a chunk that is being committed: the sums must include it.
        self._warehouse.fetch("select 1 from loads where load_id = %s for update", load_id)
        self._warehouse.fetch(operation("close_load"), load_id=load_id, status=status, error=error)

    def unread(self, files: Sequence[File]) -> list[File]:
        """Return the files whose current content has not been read completely, and all pipes."""
        with self._warehouse.transaction():
            done = set(self._warehouse.fetch(DONE, [file.uri for file in files]))
        return [file for file in files if file.size is None or (file.uri, file.size, file.fingerprint) not in done]

    @contextmanager
    def open_file(self, load_id: int, file: File, *, again: bool = False) -> Iterator[FileCursor | None]:
        """Lock a file, and yield the cursor at which to continue, or None if it has been read completely.

        The outcome of the body is recorded as that of the file. Raises TakenError if another load is reading it.
        """
        key = advisory_locks.FILE, self._name(file.uri)
        if not self._warehouse.retry(lambda: self._warehouse.try_lock(*key)):
            raise TakenError(f"{file.uri!r} is skipped, because another load is reading it")
        cursor = self._warehouse.retry(lambda: self._open(load_id, file, again))
        try:
            yield cursor
        except BaseException as exc:
            with suppress(LoaderError):
                status = "left" if isinstance(exc, UnfinishedError) else "failed"
                self._close(cursor, status, str(exc) or "interrupted")
            raise
        else:
            self._warehouse.retry(lambda: self._close(cursor, "done", None))
        finally:
            with suppress(LoaderError):
                self._warehouse.unlock(*key)

    def _open(self, load_id: int, file: File, again: bool) -> FileCursor | None:
        with self._warehouse.transaction():
            last = self._warehouse.fetch(LAST, file.uri, file.size, file.fingerprint) if file.size is not None else []
            status, position, line = last[0] if last and not again else ("failed", 0, 0)
            if status == "done" and not again:
                return None
            self._check_running(load_id)
            ((file_id,),) = self._warehouse.fetch(OPEN, load_id, file.uri, file.size, file.fingerprint, position, line)
        return FileCursor(file_id, position, line + 1)

    def position(self, cursor: FileCursor) -> int:
        """Return the position up to which a file has been read, in bytes, in the current transaction."""
        ((position,),) = self._warehouse.fetch("select position from files where file_id = %s", cursor.file_id)
        return int(position)

    def save_cursor(self, cursor: FileCursor, position: int, line: int, counts: Mapping[str, int]) -> None:
        """Record the position up to which a file has been read, and add counts, in the current transaction.

        Raises DeclaredDeadError if another load has recorded this one as killed, while its connection was lost.
        """
        ((load_id,),) = self._warehouse.fetch("select load_id from files where file_id = %s", cursor.file_id)
        self._check_running(load_id)
        self._warehouse.fetch(ADVANCE, position, line, *_values(counts), cursor.file_id)

    def record_chunk(self, load_id: int, events: int) -> None:
        """Record the number of events that the current transaction has stored, for the next refresh."""
        self._warehouse.fetch(RECORD_CHUNK, load_id, events)

    def _check_running(self, load_id: int) -> None:
        """Raise DeclaredDeadError unless the load is recorded as running, and keep that so in this transaction.

        Its counts have been recorded already, and another load may have read its files since.
        """
        running = "select 1 from loads where load_id = %s and status = 'running' for share"
        if not self._warehouse.fetch(running, load_id):
            raise DeclaredDeadError(
                f"another load has recorded load {load_id} as killed, because its connection was lost; "
                "run the load again, it continues where it ended"
            )

    def _close(self, cursor: FileCursor | None, status: str, error: str | None) -> None:
        if cursor:
            with self._warehouse.transaction():
                self._warehouse.fetch(CLOSE, status, error, cursor.file_id)


#: The columns of `sql/operations/running_loads.sql`.
_RUNNING = (
    *("load_id", "kind", "host", "pid", "started_at", "exclusive", "is_alive"),
    *("uri", "position", "size", "events_read", "files_done", "events_per_second"),
)


def read_running_loads(warehouse: Warehouse) -> list[dict[str, Any]]:
    """Return one row for each running load and file that it is reading, in the current transaction.

    A load with `is_alive` false was killed.
    """
    rows = warehouse.fetch(operation("running_loads"), load_lock=advisory_locks.LOAD, ops=warehouse.ops)
    return [dict(zip(_RUNNING, row, strict=True)) for row in rows]


def _values(counts: Mapping[str, int]) -> list[int]:
    return [counts.get(name, 0) for name in COUNTS]


@contextmanager
def record_outcome(ledger: Ledger, result: LoadResult) -> Iterator[None]:
    """Run a load and record its outcome in the ledger, except for a dry run."""
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
