"""Steps of a load, to be there when it is at one: `loader.crash_points` tells them to Python's audit hooks."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from loader.crash_points import Received, Step

_listeners: list[Callable[[str], None]] = []

#: A script that runs the command with small chunks and kills itself at a step, given as the first argument with the
#: number of times it lives through it: `chunk.copied:2`.
KILLED_AT = """
import sys
from tests.support.crash_points import kill_at
step, lives = sys.argv.pop(1).split(":")
kill_at(step, int(lives))
import loader.pipeline.worker
loader.pipeline.worker.CHUNK_SIZE = 300_000
from loader.cli import main
main()
"""


def kill_at(step: str, lives: int) -> None:
    """Let this process be killed at a step, after it lived through it some times."""
    left = [lives]

    def listen(name: str) -> None:
        if name == step:
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1

    _listeners.append(listen)


def _tell(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "selligent_loader.step":
        for listener in list(_listeners):
            listener(*arguments)


sys.addaudithook(_tell)


@contextmanager
def at(step: Step | Received, act: Callable[[], object], times: int = 1) -> Iterator[None]:
    """Do something the first times that a load of this process is at a step; fails if it never was."""
    left = [times]

    def listen(name: str) -> None:
        if name == step and left[0] > 0:
            left[0] -= 1
            act()

    _listeners.append(listen)
    try:
        yield
    finally:
        _listeners.remove(listen)
    assert left[0] == 0, f"the load was not at {step} that often"
