"""Files: an input, where it is, and how to know that it has changed."""

import time
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

STANDARD_INPUT = "-"
#: Seconds after its last change in which a file that ends in the middle of something is still being written.
SETTLING_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class File:
    """An input: where it is, its bytes as stored, a mark that changes with its content; both None for a pipe."""

    uri: str
    size: int | None = None
    fingerprint: str | None = None
    #: When it was last changed, as a Unix time stamp; None if that is not known.
    modified: float | None = None
    #: What it holds, if that is a table in memory.
    table: pa.Table | None = field(default=None, compare=False, repr=False)

    @property
    def is_remote(self) -> bool:
        return "://" in self.uri

    @property
    def is_settling(self) -> bool:
        """Tell whether it was changed just now."""
        return self.modified is not None and time.time() - self.modified < SETTLING_SECONDS


def local_file(path: Path) -> File:
    """Return a file of this machine as it is now.

    Raises OSError.
    """
    status = path.stat()
    uri = str(path.absolute()).encode("utf-8", "backslashreplace").decode()
    return File(uri, status.st_size, f"{status.st_mtime_ns}", status.st_mtime)
