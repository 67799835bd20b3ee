"""Change lines of a segment, each to one of the same length, so that positions in the segment stay valid."""

import gzip
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from loader.crash_points import crash_point
from loader.spool.segment_list import OPEN, open_segment
from loader.spool.segments import sync

#: How the name of a file ends that will replace a segment.
PART = ".rewriting.part"
#: A call that loads ignore and that no integration gets.
_FILLER = b'{"type":"group"', b"}"

#: Returns a line that stands for another one and is as long, or None if nothing may be left of it.
Change = Callable[[bytes], bytes | None]


def fill(size: int) -> bytes:
    """Return a line of so many bytes that says nothing.

    >>> fill(20), fill(3)
    (b'{"type":"group"    }', b'   ')
    """
    begin, end = _FILLER
    rest = size - len(begin) - len(end)
    return begin + b" " * rest + end if rest >= 0 else b" " * size


def rewrite_segment(path: Path, change: Change, *, is_dry: bool = False) -> None:
    """Change lines of a segment while no other process moves it: see `hold_segments`. Does nothing if it was removed.

    A compressed segment is replaced as a whole, and lines of another one are written in place: the server may append to
    it at the same time. The time of change of the file stays, by which old segments are removed.
    """
    changes: list[tuple[int, bytes]] = []
    try:
        for offset, line in _lines(path):
            kept = change(line)
            if kept != line:
                changes.append((offset, fill(len(line)) if kept is None else kept))
    except FileNotFoundError:
        return
    if changes and not is_dry:
        _replace(path, dict(changes)) if path.suffix == ".gz" else _overwrite(path, changes)


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the complete lines of a segment, each with its offset."""
    offset = 0
    with open_segment(path) as file:
        for line in file:
            if line.endswith(b"\n"):
                yield offset, line[:-1]
            offset += len(line)


def _overwrite(path: Path, changes: list[tuple[int, bytes]]) -> None:
    before = path.stat()
    with path.open("r+b") as file:
        for offset, line in changes:
            file.seek(offset)
            file.write(line)
        file.flush()
        os.fsync(file.fileno())
    if path.parent.name != OPEN:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _replace(path: Path, changes: dict[int, bytes]) -> None:
    before, part = path.stat(), path.with_name(path.name + PART)
    with part.open("wb") as target:
        os.fchmod(target.fileno(), stat.S_IMODE(before.st_mode))
        with gzip.GzipFile("", "wb", 1, target, mtime=0) as packed, open_segment(path) as source:
            offset = 0
            for line in source:
                packed.write(changes[offset] + b"\n" if offset in changes else line)
                offset += len(line)
        target.flush()
        os.fsync(target.fileno())
    os.utime(part, ns=(before.st_atime_ns, before.st_mtime_ns))
    crash_point("erase.segment_written")
    part.rename(path)
    sync(path.parent)
