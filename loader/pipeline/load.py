"""Load files in one or several processes, and analyze the tables that changed."""

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, closing, contextmanager

from loader import logs
from loader.config import Settings
from loader.crash_points import crash_point
from loader.errors import InputError, LoaderError
from loader.inputs.file import File
from loader.pipeline.backfill import backfill_waiting_columns
from loader.pipeline.ledger import Ledger, record_outcome
from loader.pipeline.options import Options
from loader.pipeline.result import LoadResult
from loader.pipeline.worker import Progress, Worker
from loader.postgres import advisory_locks
from loader.postgres.connection import Warehouse
from loader.postgres.retry import retry
from loader.quoting import quote_identifier
from loader.schema.distribution import is_distributed, measure_event_tables
from loader.schema.source import open_warehouse

#: Makes what a load reports its progress to, given the total size of the files as stored, in bytes, and their number.
ProgressFactory = Callable[[int, int], AbstractContextManager[Progress]]


class Silent:
    """Progress that nobody looks at."""

    def begin(self, uri: str) -> None:
        pass

    def add(self, size: int, events: int) -> None:
        pass


@contextmanager
def no_progress(_size: int, _files: int) -> Iterator[Progress]:
    """Report nothing."""
    yield Silent()


def load_files(
    settings: Settings,
    files: Sequence[File],
    options: Options,
    reported: ProgressFactory = no_progress,
    problems: Sequence[InputError] = (),
) -> LoadResult:
    """Load files that have not been read yet; `problems` are added to the errors of the result.

    Raises BusyError if another load is running and one of the two is exclusive, SchemaError if the database is not
    prepared, WarehouseError if it fails.
    """
    started = time.monotonic()
    with open_warehouse(settings, "load") as warehouse:
        ledger = Ledger(warehouse)
        load_id = None if options.dry_run else ledger.begin(exclusive=options.exclusive)
        logs.bind(load_id)
        crash_point("load.begun")
        result = LoadResult(load_id, errors=[str(problem) for problem in problems])
        with record_outcome(ledger, result):
            if result.load_id is not None:
                placed = warehouse.retry(lambda: backfill_waiting_columns(warehouse, options))
                result.values_placed, result.ddl = placed
            to_read = files if options.again else warehouse.retry(lambda: ledger.unread(files))
            with reported(sum(file.size or 0 for file in to_read), len(to_read)) as progress:
                _read(to_read, settings, options, result, progress)
            if not options.dry_run:
                warehouse.retry(lambda: analyze(warehouse, result.tables))
            result.set_status(options)
            result.seconds = time.monotonic() - started
        crash_point("load.finished")
    return result


def _read(files: Sequence[File], settings: Settings, options: Options, result: LoadResult, progress: Progress) -> None:
    if min(options.jobs, len(files)) > 1:
        _read_in_processes(files, settings, options, result, progress)
    elif files:
        with closing(_connected(settings, options, result.load_id)) as worker:
            for file in files:
                result.add(worker.read(file, progress))


def _connected(settings: Settings, options: Options, load_id: int | None) -> Worker:
    return retry(lambda: Worker(settings, options, load_id), settings.retry_for)


def _read_in_processes(
    files: Sequence[File], settings: Settings, options: Options, result: LoadResult, progress: Progress
) -> None:
    """Read files in several processes. If one fails, all are terminated."""
    with ProcessPoolExecutor(
        min(options.jobs, len(files)),
        multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(settings, options, result.load_id, logs.style()),
    ) as pool:
        tasks = {pool.submit(_read_one, file): file for file in files}
        try:
            for task in as_completed(tasks):
                done = task.result()
                result.add(done)
                progress.begin(tasks[task].uri)
                progress.add(tasks[task].size or 0, done.counts["events_read"])
        except BrokenProcessPool as exc:
            raise LoaderError(
                "a process of the load was killed; run the load again, it continues where it ended"
            ) from exc
        finally:
            for process in multiprocessing.active_children():
                process.terminate()
            pool.shutdown(cancel_futures=True)


_worker: Worker


def _start_worker(settings: Settings, options: Options, load_id: int | None, style: logs.Style) -> None:
    global _worker  # noqa: PLW0603
    logs.configure(style)
    logs.bind(load_id)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent terminates its workers
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _worker = _connected(settings, options, load_id)


def _end_with_parent() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
    os._exit(LoaderError.exit_code)


def _read_one(file: File) -> LoadResult:
    return _worker.read(file, Silent())


log = logging.getLogger(__name__)

#: Share of a table's rows that may be new before it is analyzed.
NEW_SHARE = 0.03

#: `n_mod_since_analyze` includes rows of earlier loads that were killed before their `analyze`, but may not yet include
#: the rows of this load.
_DUE = """
    select pg_class.relname from pg_class left join pg_stat_user_tables as stat on stat.relid = pg_class.oid
    join unnest(%s::text[], %s::bigint[]) as touched (name, rows) on touched.name = pg_class.relname
    where relnamespace = to_regnamespace(%s) and relkind in ('r', 'p')
        and greatest(coalesce(n_mod_since_analyze, 0), touched.rows) > %s * greatest(reltuples, 0)
    order by pg_class.relname
"""


def analyze(warehouse: Warehouse, rows: Mapping[str, int]) -> list[str]:
    """Analyze the tables of which more than NEW_SHARE is new, given the new rows of each, and return their names.

    A table that is locked or belongs to another role is left to autovacuum.
    """
    with warehouse.transaction():
        due = _find_due(warehouse, rows) if rows else []
    return [name for name in due if _analyze(warehouse, name)]


def _find_due(warehouse: Warehouse, rows: Mapping[str, int]) -> list[str]:
    if is_distributed(warehouse):
        known = {table.name: table.estimated_rows for table in measure_event_tables(warehouse)}
        return sorted(name for name, new in rows.items() if new > NEW_SHARE * known.get(name, 0))
    names, counts = list(rows), list(rows.values())
    return [name for (name,) in warehouse.fetch(_DUE, names, counts, quote_identifier(warehouse.schema), NEW_SHARE)]


def _analyze(warehouse: Warehouse, name: str) -> bool:
    try:
        with warehouse.transaction(lock_timeout=advisory_locks.TABLE_TIMEOUT):
            warehouse.fetch(f"analyze {warehouse.qualified(name)}")
    except LoaderError as exc:
        log.info("table %r is not analyzed: %s", name, exc)
        return False
    log.info("table %r is analyzed", name)
    return True
