"""Create, write, close, archive and remove the spool's files, the segments.

    SPOOL/.lock                             locked by the server that writes here
    SPOOL/<schema>/.open/<name>.jsonl       being written, or waiting for compression
    SPOOL/<schema>/<name>.jsonl.gz          closed and immutable; read by `load`
    SPOOL/<schema>/.loaded/<name>.jsonl.gz  loaded; kept for some time
    SPOOL/.<schema>.site/                   the same for calls of the company's site, which no load reads

A name is an increasing number and a random part, so that names stay unique if the clock is set back, and across hosts.
"""

import errno
import fcntl
import gzip
import logging
import os
import re
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO
from urllib.parse import quote

from loader.config import make_private, private
from loader.crash_points import crash_point
from loader.errors import BusyError, UsageError
from loader.spool.segment_lock import hold_segments

log = logging.getLogger(__name__)

BLOCK = 1 << 20
SEGMENT_NAME = re.compile(r"(\d{12})-[0-9a-f]{8}[.]jsonl([.]gz)?")


@dataclass(slots=True)
class Segment:
    """A file that is open for writing, and the size in bytes that has been synced to disk."""

    path: Path
    file: int
    #: The folder, held open, so that it is known whether its path still leads to it.
    folder: int
    size: int = 0
    begun: float = field(default_factory=time.monotonic)

    def write(self, content: bytes) -> None:
        """Append whole lines and sync them to disk; raise OSError if that fails, or if the file has been removed."""
        view = memoryview(content)
        while view:
            view = view[os.write(self.file, view) :]
        crash_point("spool.written")
        os.fdatasync(self.file)
        crash_point("spool.synced")
        self._check_linked()
        self.size += len(content)

    def _check_linked(self) -> None:
        """Raise OSError if the file or its folder has been removed or replaced: nobody would find the events."""
        if os.fstat(self.file).st_nlink:
            expected, found = os.fstat(self.folder), self.path.parent.stat()
            if (expected.st_dev, expected.st_ino) == (found.st_dev, found.st_ino):
                return
        raise FileNotFoundError(errno.ENOENT, "the spool's folder has been removed", str(self.path))

    def cut(self) -> None:
        """Free the disk space of what was not synced."""
        with suppress(OSError):
            os.ftruncate(self.file, self.size)

    def close(self) -> None:
        """Close the file, whose content has been synced."""
        for handle in (self.file, self.folder):
            with suppress(OSError):
                os.close(handle)


def make_folders(folder: Path, schemas: Sequence[str]) -> tuple[IO[bytes], dict[str, Path]]:
    """Lock a spool and return the lock, and the folder of each source; create folders that are missing.

    Raises BusyError if another server has the lock, UsageError if the spool is not writable.
    """
    try:
        make_private(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
        lock = lock_folder(folder)
        places = {schema: folder / folder_name(schema) for schema in schemas}
        make_places(folder, places.values())
    except OSError as exc:
        raise UsageError(f"the spool {str(folder)!r} cannot be used: {exc}; name another with --spool") from exc
    return lock, places


def make_places(folder: Path, places: Iterable[Path]) -> None:
    """Create the missing folders of sources; raise OSError if that fails."""
    for place in places:
        for part in (place, place / ".open", place / ".loaded"):
            part.mkdir(mode=0o700, exist_ok=True)
        sync(place)
    sync(folder)


def is_same_file(lock: IO[bytes], folder: Path) -> bool:
    """Return whether the lock file of a spool is still the one that this process has locked."""
    try:
        found, held = (folder / ".lock").stat(), os.fstat(lock.fileno())
    except (OSError, ValueError):  # removed, or closed by the thread that makes the folders again
        return False
    return (held.st_dev, held.st_ino) == (found.st_dev, found.st_ino)


def lock_folder(folder: Path) -> IO[bytes]:
    """Return the lock of a spool, a file, which releases it when closed.

    Raises BusyError if another process has it.
    """
    lock = open(folder / ".lock", "ab", opener=private)  # noqa: SIM115  Path.open has no opener
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise BusyError(
            f"another server writes to the spool {str(folder)!r}; stop it, or name another spool with --spool"
        ) from None
    return lock


def folder_name(schema: str) -> str:
    """Return the name of a log's folder, which is unique and a single path component, and not hidden for a source.

    >>> folder_name("selligent"), folder_name("../a b"), folder_name(site_log("selligent"))
    ('selligent', '%2E.%2Fa%20b', '.selligent.site')
    """
    if schema.endswith(_SITE):
        return f".{folder_name(schema.removesuffix(_SITE))}.site"
    name = quote(schema, safe="")
    return f"%2E{name[1:]}" if name.startswith(".") else name


def site_log(schema: str) -> str:
    """Return the name of the log with the calls of a source's site and apps, which no load reads.

    Its folder is `SPOOL/.<folder of the source>.site`. A folder of a source never begins with a point, and loads leave
    out hidden folders.
    """
    return f"{schema}{_SITE}"


#: Names of schemas cannot have this character.
_SITE = "\0site"


def last_number(folder: Path) -> int:
    """Return the highest number of a segment in a spool, 0 if there is none."""
    return max(
        (int(found[1]) for path in folder.rglob("*.jsonl*") if (found := SEGMENT_NAME.match(path.name))), default=0
    )


def open_segment(place: Path, number: int) -> Segment:
    """Create a segment and sync its folder, so that the file survives a power failure."""
    path = place / ".open" / f"{number:012d}-{secrets.token_hex(4)}.jsonl"
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND, 0o600)
        os.fsync(folder)
    except OSError:
        os.close(folder)
        raise
    return Segment(path, file, folder)


def unfinished_segments(place: Path) -> Iterator[tuple[Path, int]]:
    """Yield the open segments of a killed server, each with its size up to the last complete line, in bytes."""
    for part in (place / ".open").glob("*.part"):
        part.unlink()
    for path in sorted((place / ".open").glob("*.jsonl")):
        if any((folder / f"{path.name}.gz").exists() for folder in (place, place / ".loaded")):
            path.unlink()
        else:
            yield path, _whole_lines(path)


def _whole_lines(path: Path) -> int:
    """Return the size of a file up to its last line end, in bytes."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        end, start = 0, size
        while start and not end:
            start = max(start - BLOCK, 0)
            file.seek(start)
            end = start + newline + 1 if (newline := file.read(BLOCK).rfind(b"\n")) >= 0 else 0
    if end < size:
        log.warning("%s ends with an incomplete line, which was never acknowledged; it is left out", path)
    return end


def close_segment(path: Path, size: int) -> int:
    """Move the first `size` bytes of a segment to where `load` reads them, compressed and atomically.

    If it cannot be compressed, it is moved uncompressed; an empty segment is removed. Returns the size of the closed
    segment in bytes. Raises OSError if it cannot be moved.
    """
    with hold_segments(path.parents[2]):
        return _close_segment(path, size)


def _close_segment(path: Path, size: int) -> int:
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
        log.warning("%s cannot be compressed and stays uncompressed: %s", path, exc.strerror)
        os.truncate(path, size)
        final = place / path.name
        path.rename(final)
        sync(place)
    crash_point("segment.closed")
    return final.stat().st_size


@contextmanager
def _whole(part: Path, final: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file for the body to write; then sync it and rename it to its final name."""
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
    """Return the segments that `load` can read, oldest first."""
    return sorted(path for path in place.glob("*.jsonl*") if SEGMENT_NAME.fullmatch(path.name))


def archive_segment(path: Path) -> None:
    """Move a loaded segment to the folder where it is not loaded again."""
    with hold_segments(path.parent.parent):
        path.rename(path.parent / ".loaded" / path.name)


def replace_file(path: Path, content: bytes) -> None:
    """Replace a small file atomically. Several processes may do so at the same time."""
    with _whole(path.with_name(f"{path.name}.{os.getpid()}.part"), path) as target:
        target.write(content)


def is_writable(folder: Path) -> bool:
    """Return whether a file can be written and synced in a folder, by trying it."""
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
    """Sync a folder, so that its entries are on disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
