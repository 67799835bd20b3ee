"""Named points of a run, raised as Python audit events (PEP 578), at which the tests crash the process."""

import sys
from typing import Literal

#: Points in a load.
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
#: Points in the endpoint's spool.
Received = Literal[
    "spool.written", "spool.synced", "segment.compressed", "segment.renamed", "segment.closed", "segment.kept"
]
#: Points in the forwarder.
Forwarded = Literal[
    "forward.sending",
    "forward.called",
    "forward.answered",
    "forward.buried",
    "forward.saved",
    "forward.recorded",
    "audience.stored",
    "audience.marked",
]
#: Points in an erasure.
Erased = Literal[
    "erase.suppressed",
    "erase.segment_written",
    "erase.segment",
    "erase.scrubbed",
    "erase.deleting",
    "erase.deleted",
    "retention.batch",
]


def crash_point(name: Step | Received | Forwarded | Erased) -> None:
    """Raise the audit event of a crash point. Without a hook it has no effect."""
    sys.audit("selligent_loader.step", name)
