"""Act at crash points of a load, which `loader.crash_points` reports to Python's audit hooks."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from loader.crash_points import Erased, Forwarded, Received, Step

_listeners: list[Callable[[str], None]] = []

#: A script that runs the command with small chunks, and kills itself at a crash point. Its first argument is the name
#: with the number of times to pass it before: `chunk.copied:2`.
KILLED_AT = """
import sys
from tests.support.crash_points import kill_at
step, lives = sys.argv.pop(1).split(":")
kill_at(step, int(lives))
import loader.pipeline.worker
loader.pipeline.worker.CHUNK_SIZE = 300_000
from loader.cli.main import main
main()
"""


def kill_at(step: str, lives: int) -> None:
    """Kill this process at a crash point, after it has passed it `lives` times."""
    left = [lives]

    def listen(name: str) -> None:
        if name == step:
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1

    _listeners.append(listen)


def _notify(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "selligent_loader.step":
        for listener in list(_listeners):
            listener(*arguments)


sys.addaudithook(_notify)


@contextmanager
def at(step: Step | Received | Forwarded | Erased, act: Callable[[], object], times: int = 1) -> Iterator[None]:
    """Call `act` the first times that this process reaches a crash point; fail if it does so less often."""
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
    assert left[0] == 0, f"the load reached {step} less often"
