"""Ahead: items that a thread makes while the last ones are being used."""

import queue
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

T = TypeVar("T")

#: Seconds the thread has to end; one that reads from a silent pipe does not, and is left to the end of the process.
PATIENCE = 2.0


@contextmanager
def ahead(items: Iterable[T], depth: int = 1) -> Iterator[Iterator[T]]:
    """Let a thread make items, so many ahead; at the end of the body it ends with the item it is at.

    What the thread raises is raised where its item would be.
    """
    ready: queue.Queue[tuple[T] | BaseException | None] = queue.Queue(depth)
    stopped = threading.Event()

    def put(item: tuple[T] | BaseException | None) -> None:
        while not stopped.is_set():
            with suppress(queue.Full):
                ready.put(item, timeout=0.1)
                break

    def run() -> None:
        try:
            for item in items:
                put((item,))
                if stopped.is_set():
                    return
            put(None)
        except BaseException as exc:
            put(exc)

    def made() -> Iterator[T]:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item[0]

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield made()
    finally:
        stopped.set()
        thread.join(PATIENCE)
