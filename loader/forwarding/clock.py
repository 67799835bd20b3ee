"""The time as the forwarder sees it; tests use another one to pass days in a moment."""

import threading
import time


class Clock:
    """The system's time, and waiting that `stop` ends."""

    def __init__(self, parent: "Clock | None" = None) -> None:
        self._stopped = threading.Event()
        self._children: list[Clock] = []
        self._parent = parent

    def child(self) -> "Clock":
        """Return a clock that is stopped with this one, and can be stopped alone."""
        made = type(self)(self)
        self._children = [child for child in self._children if not child.is_stopped]
        self._children.append(made)
        return made

    def time(self) -> float:
        """Return the seconds since 1970."""
        return self._parent.time() if self._parent else time.time()

    def wait(self, seconds: float) -> None:
        """Wait; return earlier if the clock is stopped."""
        self._stopped.wait(seconds)

    def stop(self) -> None:
        """End all waiting, now and later."""
        self._stopped.set()
        for child in self._children:
            child.stop()

    @property
    def is_stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stopped.is_set()
