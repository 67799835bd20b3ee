"""List the segments of a source in their order, and count the lines in them.

A segment moves while it is listed: from `.open` to the folder of the source when it is closed, and to `.loaded` when it
is loaded. Its decompressed content does not change.
"""

import gzip
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from loader.spool.segments import SEGMENT_NAME

#: Bytes to read at a time.
BLOCK_BYTES = 1 << 20
#: The folders of a segment in a source's folder, in the order in which it moves through them.
OPEN, CLOSED, LOADED = ".open", "", ".loaded"
#: Age in seconds from which the time of a folder shows reliably whether the folder has changed.
SETTLED_SECONDS = 1.0


class SegmentList:
    """The segments of a source. The folder of loaded ones, which can have very many, is read only if it changed."""

    def __init__(self, place: Path) -> None:
        """`place` is the folder of the source in the spool."""
        self.place = place
        self._loaded: dict[str, Path] = {}
        self._loaded_at = -1

    def read(self) -> dict[str, Path]:
        """Return the segments by name, oldest first, each with its file."""
        # In this order a segment that moves meanwhile is found at least once.
        found = {**_scan(self.place / OPEN), **_scan(self.place / CLOSED)}
        return dict(sorted({**found, **self._read_loaded()}.items()))

    def later(self, segment: str) -> str | None:
        """Return the name of the first segment after one; None if there is none."""
        return min((name for name in self.read() if name > segment), default=None)

    def _read_loaded(self) -> dict[str, Path]:
        try:
            changed_at = (self.place / LOADED).stat().st_mtime_ns
        except OSError:
            return {}
        if changed_at != self._loaded_at:
            is_settled = changed_at / 1e9 < time.time() - SETTLED_SECONDS
            self._loaded, self._loaded_at = _scan(self.place / LOADED), changed_at if is_settled else -1
        return self._loaded


def _scan(folder: Path) -> dict[str, Path]:
    with suppress(OSError), os.scandir(folder) as entries:
        return {_stem(e.name): Path(e.path) for e in entries if SEGMENT_NAME.fullmatch(e.name)}
    return {}


def _stem(name: str) -> str:
    return name.partition(".")[0]


def is_open(place: Path, segment: str) -> bool:
    """Return whether a segment is being written, or waits to be closed."""
    return (place / OPEN / f"{segment}.jsonl").exists()


def find_segment(place: Path, segment: str) -> Path | None:
    """Return the file of a segment; None if it has been removed."""
    for folder in (OPEN, CLOSED, LOADED, CLOSED):  # the last one, in case it moved there after it was looked for
        for suffix in (".jsonl.gz", ".jsonl"):
            path = place / folder / f"{segment}{suffix}"
            if path.exists():
                return path
    return None


def open_segment(path: Path) -> IO[bytes]:
    """Open a segment for reading its decompressed bytes; raise OSError if that fails."""
    return cast(IO[bytes], gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")


def read_pieces(file: IO[bytes], size: int) -> Iterator[bytes]:
    """Read and yield the next `size` bytes of a file, or all if it is shorter."""
    while size > 0 and (piece := file.read(min(size, BLOCK_BYTES))):
        size -= len(piece)
        yield piece


@dataclass(slots=True)
class _Count:
    lines: int = 0
    size: int = 0
    is_final: bool = False


class LineCounter:
    """Counts the lines of segments; each closed one is read once, and of an open one what is new."""

    def __init__(self) -> None:
        self._counts: dict[str, _Count] = {}

    def count(self, segment: str, path: Path) -> int:
        """Return the number of complete lines in a segment; 0 if its file has been removed."""
        known = self._counts.setdefault(segment, _Count())
        if known.is_final:
            return known.lines
        is_final = path.parent.name != OPEN
        if is_final and path.suffix == ".gz":
            known.lines = known.size = 0
        with suppress(OSError), open_segment(path) as file:
            file.seek(known.size)
            for piece in read_pieces(file, 1 << 62):
                known.lines += piece.count(b"\n")
                known.size += len(piece)
            known.is_final = is_final
        return known.lines

    def has(self, segment: str) -> bool:
        """Return whether a segment has been counted, at least in part."""
        return segment in self._counts

    def forget_before(self, segment: str) -> None:
        """Forget the counts of segments that lie before one."""
        for name in [name for name in self._counts if name < segment]:
            del self._counts[name]
