"""Ledger: loads and the files they read, how far, with what result."""

import logging
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass

from loader import __version__
from loader.config import Settings
from loader.errors import SchemaError, UnfinishedError, WarehouseError
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
#: First keys of our advisory locks: loads, and files that are being read. The numbers are arbitrary.
LOAD_LOCK, FILE_LOCK = 7355609, 7355610

#: Asked of the catalog, so that whoever may not look into the schema is told so.
IS_PREPARED = """
    select exists (
        select from pg_class join pg_namespace on pg_namespace.oid = relnamespace
        where relname = 'alembic_version' and nspname = %s
    )
"""
#: Loads that are said to run though nobody holds their lock.
DEAD = """
    with running as materialized (
        select load_id from loads where status = 'running'
    )
    select load_id from running where pg_try_advisory_xact_lock(%s, load_id::int)
"""
BEGIN = "insert into loads (kind, status, host, pid, version) values ('files', 'running', %s, %s, %s) returning load_id"
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

    def begin(self) -> int:
        """Return the number of a new load, which counts as dead once this connection ends."""
        with self._warehouse.transaction():
            for (dead,) in self._warehouse.fetch(DEAD, LOAD_LOCK):
                self._finish(dead, "failed", "the loader was killed")
            ((load_id,),) = self._warehouse.fetch(BEGIN, socket.gethostname(), os.getpid(), __version__)
            self._warehouse.fetch("select pg_advisory_lock(%s, %s::bigint::int)", LOAD_LOCK, load_id)
        return int(load_id)

    def finish(self, load_id: int, status: str, error: str | None) -> None:
        """Write how a load ended; what it did is the sum of its files."""
        with self._warehouse.transaction():
            self._finish(load_id, status, error)

    def _finish(self, load_id: int, status: str, error: str | None) -> None:
        self._warehouse.fetch(FINISH, error, load_id, load_id, status, error, load_id)

    def unread(self, files: Sequence[File]) -> list[File]:
        """Return the files that have not been read to their end as they are now, and pipes."""
        with self._warehouse.transaction():
            done = set(self._warehouse.fetch(DONE, [file.uri for file in files]))
        return [file for file in files if file.size is None or (file.uri, file.size, file.fingerprint) not in done]

    @contextmanager
    def reading(self, load_id: int, file: File, *, again: bool = False) -> Iterator[Reading | None]:
        """Give the body a file to read, from where it was left, or None if somebody else reads it or has read it.

        How the body ends is how the reading ends.
        """
        key = FILE_LOCK, f"{self._warehouse.ops}/{file.uri}"
        with self._warehouse.transaction():
            ((free,),) = self._warehouse.fetch("select pg_try_advisory_lock(%s, hashtext(%s))", *key)
        if not free:
            log.warning("%s is left to another load, which is reading it", file.uri)
            yield None
            return
        reading = self._open(load_id, file, again)
        try:
            yield reading
        except BaseException as exc:
            with suppress(WarehouseError):
                status = "left" if isinstance(exc, UnfinishedError) else "failed"
                self._close(reading, status, str(exc) or "interrupted")
            raise
        else:
            self._close(reading, "done", None)
        finally:
            with suppress(WarehouseError), self._warehouse.transaction():
                self._warehouse.fetch("select pg_advisory_unlock(%s, hashtext(%s))", *key)

    def _open(self, load_id: int, file: File, again: bool) -> Reading | None:
        with self._warehouse.transaction():
            last = self._warehouse.fetch(LAST, file.uri, file.size, file.fingerprint) if file.size is not None else []
            status, position, line = last[0] if last and not again else ("failed", 0, 0)
            if status == "done" and not again:
                return None
            ((file_id,),) = self._warehouse.fetch(OPEN, load_id, file.uri, file.size, file.fingerprint, position, line)
        return Reading(file_id, position, line + 1)

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
def prepared(settings: Settings) -> Iterator[Warehouse]:
    """Connect to a database that is prepared for this version.

    Raises SchemaError for one that is not.
    """
    with closing(Warehouse(settings.database_url, settings.schema)) as warehouse:
        Ledger(warehouse).check_version()
        yield warehouse
