"""Steps: the points at which a crash could matter, told to Python's audit hooks, where tests listen."""

import sys
from typing import Literal

#: Those of a load.
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
#: Those of the endpoint.
Received = Literal[
    "spool.written", "spool.synced", "segment.compressed", "segment.renamed", "segment.closed", "segment.kept"
]


def crash_point(name: Step | Received) -> None:
    """Say that the program is at a step; it costs nothing where nobody listens."""
    sys.audit("selligent_loader.step", name)
