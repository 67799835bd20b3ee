"""Produce items in threads of their own, ahead of whoever takes them."""

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

T = TypeVar("T")
U = TypeVar("U")

#: Seconds to wait for all threads to end. One that is blocked in reading from a pipe ends with the process.
THREAD_END_SECONDS = 2.0


class Producer(Generic[T]):
    """A thread that iterates over items, never more than one item ahead of its consumer."""

    def __init__(self, items: Iterable[T]) -> None:
        self._ready: queue.SimpleQueue[tuple[T] | BaseException | None] = queue.SimpleQueue()
        self._taken = threading.Semaphore(0)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(items,), daemon=True)
        self._thread.start()

    def _run(self, items: Iterable[T]) -> None:
        try:
            for item in items:
                self._ready.put((item,))
                del item  # the consumer may free it before the next one is produced
                while not self._taken.acquire(timeout=0.1):
                    if self._stopped.is_set():
                        return
            self._ready.put(None)
        except BaseException as exc:
            self._ready.put(exc)

    def items(self) -> Iterator[T]:
        """Yield the items until there are no more, or until `stop`; raise what the thread has raised."""
        while (item := self._ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            self._taken.release()
            yield item[0]
            del item

    def stop(self) -> None:
        """Let the thread end after its current item, and a consumer that waits for the next one go on without it."""
        self._stopped.set()
        self._ready.put(None)

    def join(self, seconds: float) -> None:
        """Wait for the thread to end."""
        self._thread.join(seconds)


@contextmanager
def produce_ahead(items: Iterable[T], convert: Callable[[Iterator[T]], Iterable[U]]) -> Iterator[Iterator[U]]:
    """Yield an iterator over converted items: one thread iterates over the items, and another one converts them.

    The threads end when the body does: both are stopped before one of them is waited for.
    """
    source = Producer(items)
    converted = Producer(convert(source.items()))
    try:
        yield converted.items()
    finally:
        source.stop()
        converted.stop()
        end = time.monotonic() + THREAD_END_SECONDS
        for producer in (converted, source):
            producer.join(max(0.0, end - time.monotonic()))
