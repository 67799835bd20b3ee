"""Ahead: items that a thread makes while the last ones are being used."""

import queue
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")

#: Seconds the thread has to end; one that reads from a silent pipe does not, and is left to the end of the process.
PATIENCE = 2.0


@contextmanager
def ahead(items: Iterable[T]) -> Iterator[Iterator[T]]:
    """Let a thread make the next item while one is used, never more; when the body ends it ends with the item it is at.

    What the thread raises is raised where its item would be.
    """
    ready: queue.SimpleQueue[tuple[T] | BaseException | None] = queue.SimpleQueue()
    taken = threading.Semaphore(0)
    stopped = threading.Event()

    def run() -> None:
        try:
            for item in items:
                ready.put((item,))
                del item  # it is the reader's now, who may be done with it before the next is made
                while not taken.acquire(timeout=0.1):
                    if stopped.is_set():
                        return
            ready.put(None)
        except BaseException as exc:
            ready.put(exc)

    def made() -> Iterator[T]:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            taken.release()
            yield item[0]
            del item

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield made()
    finally:
        stopped.set()
        thread.join(PATIENCE)
