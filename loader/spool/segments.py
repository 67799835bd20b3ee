"""Segments: the spool's files, from the first line to the last day they are kept.

    SPOOL/.lock                             held by the server that writes here
    SPOOL/<schema>/.open/<name>.jsonl       being written, or to be compressed
    SPOOL/<schema>/<name>.jsonl.gz          closed, and never changed again: what `load` reads
    SPOOL/<schema>/.loaded/<name>.jsonl.gz  loaded, kept for a while

A name is a number that counts up and a random part, so that neither a clock set back nor another host's spool brings
the same one again.
"""

import fcntl
import gzip
import logging
import os
import re
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO
from urllib.parse import quote

from loader.crash_points import crash_point
from loader.errors import BusyError, UsageError

log = logging.getLogger(__name__)

BLOCK = 1 << 20
_NAME = re.compile(r"(\d{12})-[0-9a-f]{8}[.]jsonl([.]gz)?")


@dataclass(slots=True)
class Segment:
    """A file that is open for writing, and its size up to which everything is on disk."""

    path: Path
    file: int
    size: int = 0
    begun: float = field(default_factory=time.monotonic)

    def write(self, content: bytes) -> None:
        """Append whole lines, and return when they are on disk."""
        view = memoryview(content)
        while view:
            view = view[os.write(self.file, view) :]
        crash_point("spool.written")
        os.fdatasync(self.file)
        crash_point("spool.synced")
        self.size += len(content)

    def close(self) -> None:
        """Let go of the file; what was written is on disk already."""
        with suppress(OSError):
            os.close(self.file)


def make_folders(folder: Path, schemas: Sequence[str]) -> tuple[IO[bytes], dict[str, Path]]:
    """Return the lock of a spool and a folder in it for each source, made if need be.

    Raises BusyError if another server has the lock, UsageError if nothing can be written there.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = _locked(folder)
        places = {schema: folder / folder_name(schema) for schema in schemas}
        for place in places.values():
            for part in (place, place / ".open", place / ".loaded"):
                part.mkdir(mode=0o700, exist_ok=True)
            sync(place)
        sync(folder)
    except OSError as exc:
        raise UsageError(f"the spool {str(folder)!r} cannot be used: {exc}; name another with --spool") from exc
    return lock, places


def _locked(folder: Path) -> IO[bytes]:
    lock = (folder / ".lock").open("ab")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise BusyError(
            f"another server writes to the spool {str(folder)!r}; stop it, or name another spool with --spool"
        ) from None
    return lock


def folder_name(schema: str) -> str:
    """Return the folder of a source, which is no hidden one, nor another's.

    >>> place_name("selligent"), place_name("../a b")
    ('selligent', '%2E.%2Fa%20b')
    """
    name = quote(schema, safe="")
    return f"%2E{name[1:]}" if name.startswith(".") else name


def last_number(folder: Path) -> int:
    """Return the highest number that a segment of a spool has, 0 if there is none."""
    return max((int(found[1]) for path in folder.rglob("*.jsonl*") if (found := _NAME.match(path.name))), default=0)


def open_segment(place: Path, number: int) -> Segment:
    """Begin a segment whose name survives a power cut."""
    path = place / ".open" / f"{number:012d}-{secrets.token_hex(4)}.jsonl"
    file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND, 0o600)
    sync(path.parent)
    return Segment(path, file)


def unfinished_segments(place: Path) -> Iterator[tuple[Path, int]]:
    """Yield what a server that was killed left open, and its size, without a line that was never answered for."""
    for part in (place / ".open").glob("*.part"):
        part.unlink()
    for path in sorted((place / ".open").glob("*.jsonl")):
        if any((folder / f"{path.name}.gz").exists() for folder in (place, place / ".loaded")):
            path.unlink()
        else:
            yield path, _whole_lines(path)


def _whole_lines(path: Path) -> int:
    """Return the size of a file up to its last line end."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        end, start = 0, size
        while start and not end:
            start = max(start - BLOCK, 0)
            file.seek(start)
            end = start + found + 1 if (found := file.read(BLOCK).rfind(b"\n")) >= 0 else 0
    if end < size:
        log.warning("%s ends within a line that was never answered for; it is left out", path)
    return end


def close_segment(path: Path, size: int) -> int:
    """Put the first `size` bytes of a segment where `load` finds them, whole or not at all; return the bytes there.

    If there is no room to compress it, it stays as it is; an empty one is removed.
    """
    place = path.parent.parent
    if size == 0:
        path.unlink()
        return 0
    try:
        final = place / f"{path.name}.gz"
        with _whole(path.with_name(f"{path.name}.gz.part"), final) as target:
            _compress(path, size, target)
        path.unlink()
    except OSError as exc:
        log.warning("%s stays as it is: it cannot be compressed: %s", path, exc.strerror)
        os.truncate(path, size)
        final = place / path.name
        path.rename(final)
        sync(place)
    crash_point("segment.closed")
    return final.stat().st_size


@contextmanager
def _whole(part: Path, final: Path) -> Iterator[IO[bytes]]:
    """Let the body write a file that is there under its name once it is on disk, or not at all."""
    try:
        with part.open("wb") as target:
            os.fchmod(target.fileno(), 0o600)
            yield target
            target.flush()
            os.fsync(target.fileno())
        crash_point("segment.compressed")
        part.rename(final)
    except OSError:
        part.unlink(missing_ok=True)
        raise
    crash_point("segment.renamed")
    sync(final.parent)


def _compress(path: Path, size: int, target: IO[bytes]) -> None:
    with path.open("rb") as source, gzip.GzipFile("", "wb", 1, target, mtime=0) as packed:
        while size > 0 and (block := source.read(min(size, BLOCK))):
            packed.write(block)
            size -= len(block)


def closed_segments(place: Path) -> list[Path]:
    """Return the segments that `load` can read, the oldest first."""
    return sorted(path for path in place.glob("*.jsonl*") if _NAME.fullmatch(path.name))


def archive_segment(path: Path) -> None:
    """Put a segment aside that is loaded."""
    path.rename(path.parent / ".loaded" / path.name)


def remove_older(place: Path, seconds: float) -> None:
    """Remove the segments that were closed more than so many seconds ago, and are loaded."""
    for path in closed_segments(place / ".loaded"):
        if path.stat().st_mtime < time.time() - seconds:
            path.unlink()


def replace_file(path: Path, content: bytes) -> None:
    """Write a small file, whole or not at all, also while other processes do the same."""
    with _whole(path.with_name(f"{path.name}.{os.getpid()}.part"), path) as target:
        target.write(content)


def is_writable(folder: Path) -> bool:
    """Find out whether a file can be written."""
    probe = folder / ".probe"
    try:
        with probe.open("wb") as file:
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        return False
    finally:
        with suppress(OSError):
            probe.unlink()
    return True


def sync(folder: Path) -> None:
    """Make sure that the names in a folder are on disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
