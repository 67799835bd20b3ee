"""Ledger: loads and the files they read, how far, with what result."""

import logging
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta

from loader import __version__, locks
from loader.config import Settings
from loader.errors import BusyError, LoaderError, SchemaError, TakenError, UnfinishedError, UsageError
from loader.files import File
from loader.migrate import head
from loader.names import quoted
from loader.warehouse import Warehouse

log = logging.getLogger(__name__)

COUNTS = (
    "events_read",
    "events_loaded",
    "events_duplicate",
    "events_rejected",
    "events_ignored",
    "events_suppressed",
    "values_discarded",
    "values_repaired",
)
#: Asked of the catalog, so that whoever may not look into the schema is told so.
IS_PREPARED = """
    select exists (
        select from pg_class join pg_namespace on pg_namespace.oid = relnamespace
        where relname = 'alembic_version' and nspname = %s
    )
"""
#: Loads that are said to run, and whether any connection still holds their lock.
RUNNING = """
    with running as materialized (
        select load_id, host, pid, started_at, exclusive from loads where status = 'running' order by load_id
    )
    select not pg_try_advisory_xact_lock(%s, hashtext(%s || load_id)) as is_alive, running.* from running
"""
BEGIN = """
    insert into loads (kind, status, host, pid, version, exclusive) values (%s, 'running', %s, %s, %s, %s)
    returning load_id
"""
FINISH = f"""
    with ended as (
        update files set status = 'failed', error = %s, finished_at = clock_timestamp()
        where load_id = %s and status = 'running'
    ), sums as (
        select count(*) as files, {", ".join(f"coalesce(sum({name}), 0) as {name}" for name in COUNTS)}
        from files where load_id = %s
    )
    update loads set status = %s, error = %s, finished_at = clock_timestamp(), files = sums.files,
        {", ".join(f"{name} = sums.{name}" for name in COUNTS)}
    from sums where load_id = %s
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
CLOSE = "update files set status = %s, error = %s, finished_at = clock_timestamp() where file_id = %s"


@dataclass(frozen=True, slots=True)
class Reading:
    """A file that a load reads: where it begins, in bytes after decompression, and the number of the line there."""

    file_id: int
    position: int
    line: int


#: How long a load that failed tries to say so.
FAREWELL = timedelta(seconds=5)
#: What to do behind a pooler.
POOLED = (
    "the database url leads to a pooler that gives a session to others between transactions (PgBouncer's pool_mode "
    "transaction), but a load keeps locks in its session; name the server's own port, or a pool with pool_mode session"
)


class Ledger:
    """The ledger in the ops schema; what has a chunk's outcome is written in the transaction of its rows."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse

    def check_version(self) -> None:
        """Raise SchemaError unless the schema is that of this version of the loader."""
        with self._warehouse.transaction():
            ((found,),) = self._warehouse.fetch(IS_PREPARED, self._warehouse.ops)
            query = f"select version_num from {quoted(self._warehouse.ops)}.alembic_version"
            versions = self._warehouse.fetch(query) if found else []
        if not versions:
            raise SchemaError(
                f"schema {self._warehouse.schema!r} is not prepared; run `selligent-loader init`, "
                "or name another with --schema"
            )
        if versions != [(head(),)]:
            newer = versions[0][0] > head()
            todo = "install the newer selligent-loader" if newer else "run `selligent-loader migrate`"
            raise SchemaError(f"schema {self._warehouse.schema!r} has version {versions[0][0]}, not {head()}; {todo}")

    def begin(self, kind: str = "files", *, exclusive: bool = False) -> int:
        """Return the number of a new load, which counts as dead once all connections that joined it have ended.

        Raises BusyError if another load runs and one of the two is exclusive, UsageError behind a pooler that would
        give our locks away.
        """
        if self._warehouse.is_shared():
            raise UsageError(POOLED)
        with self._warehouse.transaction():
            self._warehouse.wait_for(locks.BEGIN)
            for is_alive, other, host, pid, since, is_exclusive in self._warehouse.fetch(
                RUNNING, locks.LOAD, self._name()
            ):
                if not is_alive:
                    self._finish(other, "failed", "the loader was killed")
                elif exclusive or is_exclusive:
                    raise BusyError(
                        f"load {other} has been running since {since:%Y-%m-%d %H:%M:%S %Z} on {host} as process {pid}"
                        f"{', and wants to be alone' if is_exclusive else ''}; try again when it has ended"
                    )
            ((load_id,),) = self._warehouse.fetch(
                BEGIN, kind, socket.gethostname(), os.getpid(), __version__, exclusive
            )
            self.join(load_id)
        return int(load_id)

    def join(self, load_id: int) -> None:
        """Keep a load alive as long as this connection."""
        self._warehouse.hold_shared(locks.LOAD, self._name(load_id))

    def _name(self, load_id: int | str = "") -> str:
        return f"{self._warehouse.ops}/{load_id}"

    def finish(self, load_id: int, status: str, error: str | None) -> None:
        """Write how a load ended; what it did is the sum of its files."""

        def finish() -> None:
            with self._warehouse.transaction():
                self._finish(load_id, status, error)

        # One that failed may have tried to come back for long enough already.
        self._warehouse.insist(finish, FAREWELL if status == "failed" else None)

    def _finish(self, load_id: int, status: str, error: str | None) -> None:
        self._warehouse.fetch(FINISH, error, load_id, load_id, status, error, load_id)

    def unread(self, files: Sequence[File]) -> list[File]:
        """Return the files that have not been read to their end as they are now, and pipes."""
        with self._warehouse.transaction():
            done = set(self._warehouse.fetch(DONE, [file.uri for file in files]))
        return [file for file in files if file.size is None or (file.uri, file.size, file.fingerprint) not in done]

    @contextmanager
    def reading(self, load_id: int, file: File, *, again: bool = False) -> Iterator[Reading | None]:
        """Give the body a file to read, from where it was left, or None if it has been read to its end.

        How the body ends is how the reading ends. Raises TakenError if another load reads it.
        """
        key = locks.FILE, self._name(file.uri)
        if not self._warehouse.insist(lambda: self._warehouse.try_hold(*key)):
            raise TakenError(f"{file.uri} is left to another load, which is reading it")
        reading = self._warehouse.insist(lambda: self._open(load_id, file, again))
        try:
            yield reading
        except BaseException as exc:
            with suppress(LoaderError):
                status = "left" if isinstance(exc, UnfinishedError) else "failed"
                self._close(reading, status, str(exc) or "interrupted")
            raise
        else:
            self._warehouse.insist(lambda: self._close(reading, "done", None))
        finally:
            with suppress(LoaderError):
                self._warehouse.release(*key)

    def _open(self, load_id: int, file: File, again: bool) -> Reading | None:
        with self._warehouse.transaction():
            last = self._warehouse.fetch(LAST, file.uri, file.size, file.fingerprint) if file.size is not None else []
            status, position, line = last[0] if last and not again else ("failed", 0, 0)
            if status == "done" and not again:
                return None
            ((file_id,),) = self._warehouse.fetch(OPEN, load_id, file.uri, file.size, file.fingerprint, position, line)
        return Reading(file_id, position, line + 1)

    def position(self, reading: Reading) -> int:
        """Return how far a file has been read, in the transaction at hand."""
        ((position,),) = self._warehouse.fetch("select position from files where file_id = %s", reading.file_id)
        return int(position)

    def advance(self, reading: Reading, position: int, line: int, counts: Mapping[str, int]) -> None:
        """Write how far a file has been read, and with what result, in the transaction at hand."""
        self._warehouse.fetch(ADVANCE, position, line, *_values(counts), reading.file_id)

    def _close(self, reading: Reading | None, status: str, error: str | None) -> None:
        if reading:
            with self._warehouse.transaction():
                self._warehouse.fetch(CLOSE, status, error, reading.file_id)


def _values(counts: Mapping[str, int]) -> list[int]:
    return [counts.get(name, 0) for name in COUNTS]


@contextmanager
def prepared(settings: Settings, purpose: str = "", retry_for: timedelta = timedelta()) -> Iterator[Warehouse]:
    """Connect to a database that is prepared for this version.

    Raises SchemaError for one that is not.
    """
    with closing(Warehouse(settings.database_url, settings.schema, purpose, retry_for)) as warehouse:
        Ledger(warehouse).check_version()
        yield warehouse
