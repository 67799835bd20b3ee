"""Pipeline: files into the warehouse, each chunk a transaction, the next one transformed while the last is copied."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, closing, contextmanager

from loader import logs
from loader.config import Settings
from loader.errors import InputError, LoaderError
from loader.files import File
from loader.ledger import Ledger, prepared
from loader.listing import discover
from loader.patience import insist
from loader.placing import place_waiting
from loader.result import LoadResult, Options, accounted
from loader.steps import step
from loader.upkeep import analyze
from loader.worker import Progress, Worker

#: Gives the progress to report to, for a number of bytes to read, as the files have them.
Reported = Callable[[int], AbstractContextManager[Progress]]


@contextmanager
def silent(_: int) -> Iterator[Progress]:
    """Report nothing."""
    yield lambda *_: None


def load(settings: Settings, paths: Sequence[str], options: Options, reported: Reported = silent) -> LoadResult:
    """Load files, folders and globs; what cannot be read is told in the result.

    Raises InputError if there is nothing to read, SchemaError if the database is not prepared, WarehouseError if it
    fails. A load that fails is so marked in the ledger, and the next one goes on where it ended.
    """
    files, problems = discover(paths, options.days)
    if not files and problems:
        raise InputError("; ".join(str(problem) for problem in problems))
    return load_files(settings, files, options, reported, problems)


def load_files(
    settings: Settings,
    files: Sequence[File],
    options: Options,
    reported: Reported = silent,
    problems: Sequence[InputError] = (),
) -> LoadResult:
    """Load files; `problems` are told in the result too.

    Raises SchemaError if the database is not prepared, WarehouseError if it fails.
    """
    started = time.monotonic()
    with prepared(settings, "load", options.retry_for) as warehouse:
        ledger = Ledger(warehouse)
        load_id = None if options.dry_run else ledger.begin(exclusive=options.exclusive)
        logs.bind(load_id)
        step("load.begun")
        result = LoadResult(load_id, errors=[str(problem) for problem in problems])
        with accounted(ledger, result):
            if result.load_id is not None:
                placed = warehouse.insist(lambda: place_waiting(warehouse, options.caps))
                result.values_placed, result.ddl = placed
            to_read = files if options.again else warehouse.insist(lambda: ledger.unread(files))
            with reported(sum(file.size or 0 for file in to_read)) as progress:
                _read(to_read, settings, options, result, progress)
            if not options.dry_run:
                warehouse.insist(lambda: analyze(warehouse, result.tables))
            result.judge(options)
            result.seconds = time.monotonic() - started
        step("load.finished")
    return result


def _read(files: Sequence[File], settings: Settings, options: Options, result: LoadResult, progress: Progress) -> None:
    if min(options.jobs, len(files)) > 1:
        _read_in_processes(files, settings, options, result, progress)
    elif files:
        with closing(_connected(settings, options, result.load_id)) as worker:
            for file in files:
                result.add(worker.read(file, progress))


def _connected(settings: Settings, options: Options, load_id: int | None) -> Worker:
    return insist(lambda: Worker(settings, options, load_id), options.retry_for)


def _read_in_processes(
    files: Sequence[File], settings: Settings, options: Options, result: LoadResult, progress: Progress
) -> None:
    """Read files in several processes, which all end with the first that fails."""
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
                progress(tasks[task].size or 0, done.counts["events_read"])
        except BrokenProcessPool as exc:
            raise LoaderError("a process of the load was killed; run it again, it goes on where it ended") from exc
        finally:
            for process in multiprocessing.active_children():
                process.terminate()
            pool.shutdown(cancel_futures=True)


_worker: Worker


def _start_worker(settings: Settings, options: Options, load_id: int | None, style: logs.Style) -> None:
    global _worker  # noqa: PLW0603
    logs.configure(style)
    logs.bind(load_id)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _worker = _connected(settings, options, load_id)


def _end_with_parent() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
    os._exit(LoaderError.exit_code)


def _read_one(file: File) -> LoadResult:
    return _worker.read(file, lambda *_: None)
