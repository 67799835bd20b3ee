"""Remove people from files: segments of the spool, while a server writes there, and logs in the loader's home."""

import gzip
import os
import stat
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from loader.crash_points import crash_point
from loader.privacy.scrubbing import Scrubber
from loader.spool.rewriting import rewriting
from loader.spool.segment_list import SegmentList, find_segment, open_segment
from loader.spool.segments import folder_name, site_log, sync

#: Numbers of lines by person and place.
Counts = Counter[tuple[int, str]]

#: Folders in the loader's home that are not searched: the database, the spool, and copies of programs.
_NOT_SEARCHED = frozenset({"data", "spool", "programs"})
_PART = ".erasing.part"
#: A call that loads ignore and that no integration gets.
_FILLER = b'{"type":"group"', b"}"


def scrub_spool(spool: Path, schema: str, scrubber: Scrubber, *, is_dry: bool) -> Counts:
    """Remove people from the segments of a source, open, waiting and loaded; return the number of lines.

    A line keeps its length, so that positions in a segment stay valid. A compressed segment is replaced as a whole.
    """
    counts = Counts()
    for log in (schema, site_log(schema)):
        place = spool / folder_name(log)
        for part in place.glob(f"**/*{_PART}"):
            part.unlink(missing_ok=True)
        for name in SegmentList(place).read():
            with rewriting(spool):
                # While this is held no segment moves, so the path stays that of the segment.
                path = find_segment(place, name)
                if path is not None:
                    counts += _scrub_segment(path, scrubber, is_dry=is_dry)
            crash_point("erase.segment")
    return counts


def _scrub_segment(path: Path, scrubber: Scrubber, *, is_dry: bool) -> Counts:
    counts, changes = Counts(), list[tuple[int, bytes]]()
    try:
        for offset, line in _lines(path):
            owner, kept = scrubber.scrub(line)
            if owner is not None:
                counts[owner, "spool"] += 1
                changes.append((offset, fill(len(line)) if kept is None else kept))
    except FileNotFoundError:  # it was old and has been removed
        return Counts()
    if changes and not is_dry:
        if path.suffix == ".gz":
            _replace(path, dict(changes))
        else:
            _overwrite(path, changes)
    return counts


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the complete lines of a segment, each with its offset."""
    offset = 0
    with open_segment(path) as file:
        for line in file:
            if line.endswith(b"\n"):
                yield offset, line[:-1]
            offset += len(line)


def fill(size: int) -> bytes:
    """Return a line of so many bytes that says nothing.

    >>> fill(20), fill(3)
    (b'{"type":"group"    }', b'   ')
    """
    begin, end = _FILLER
    rest = size - len(begin) - len(end)
    return begin + b" " * rest + end if rest >= 0 else b" " * size


def _overwrite(path: Path, changes: list[tuple[int, bytes]]) -> None:
    """Write lines in place: the server may append to the file at the same time."""
    before = path.stat()
    with path.open("r+b") as file:
        for offset, line in changes:
            file.seek(offset)
            file.write(line)
            file.flush()
        os.fsync(file.fileno())
    if path.parent.name != ".open":
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _replace(path: Path, changes: dict[int, bytes]) -> None:
    """Replace a compressed segment atomically by one of the same length, with the same time of change."""
    before, part = path.stat(), path.with_name(path.name + _PART)
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


def scrub_home(home: Path, scrubber: Scrubber, *, is_dry: bool) -> int:
    """Replace the addresses of people in logs and notes in the loader's home; return the number of files."""
    files = 0
    for path in _home_files(home):
        content = path.read_bytes()
        masked = scrubber.mask(content)
        if masked != content:
            files += 1
            if not is_dry:
                with path.open("r+b") as file:  # in place: the server appends to its log
                    file.write(masked)
    return files


def _home_files(home: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(home):
        if Path(folder) == home:
            folders[:] = [name for name in folders if name not in _NOT_SEARCHED]
        for name in names:
            path = Path(folder) / name
            if path.is_file() and not path.is_symlink() and path.suffix in (".log", ".json", ".txt", ""):
                yield path
