"""Describe an input: its location, and a fingerprint that shows whether it has changed."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

STANDARD_INPUT = "-"
#: Seconds after its last change during which a truncated file counts as still being written.
SETTLING_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class File:
    """An input: URI, stored size in bytes, and a fingerprint that changes with its content, both None for a pipe."""

    uri: str
    size: int | None = None
    fingerprint: str | None = None
    #: Time of the last change in Unix seconds; None if unknown.
    modified: float | None = None
    #: The content, if it is a table in memory.
    table: "pa.Table | None" = field(default=None, compare=False, repr=False)

    @property
    def is_remote(self) -> bool:
        return "://" in self.uri

    @property
    def is_settling(self) -> bool:
        """Whether it was changed less than SETTLING_SECONDS ago."""
        return self.modified is not None and time.time() - self.modified < SETTLING_SECONDS


def local_file(path: Path) -> File:
    """Return a local file with its current size and fingerprint.

    Raises OSError if it does not exist or cannot be read.
    """
    status = path.stat()
    uri = str(path.absolute()).encode("utf-8", "backslashreplace").decode()
    return File(uri, status.st_size, f"{status.st_mtime_ns}", status.st_mtime)
