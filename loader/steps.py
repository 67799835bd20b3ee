"""Steps: the points of a load at which a crash could matter, told to Python's audit hooks, where tests listen."""

import sys
from typing import Literal

Step = Literal[
    "load.begun",
    "file.opened",
    "columns.added",
    "chunk.copied",
    "chunk.advanced",
    "chunk.committed",
    "file.closed",
    "load.finished",
    "views.refreshing",
    "views.refreshed",
]


def step(name: Step) -> None:
    """Say that a load is at a step; it costs nothing where nobody listens."""
    sys.audit("selligent_loader.step", name)
