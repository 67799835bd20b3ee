"""Let one process at a time close, move or rewrite segments of a spool."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def hold_segments(spool: Path) -> Iterator[None]:
    """Let no segment of a spool be closed, archived or rewritten by others while the body runs.

    Raises OSError if the spool is not writable.
    """
    handle = os.open(spool / ".rewriting", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
