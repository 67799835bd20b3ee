"""Find the files that paths, folders, globs and URLs refer to."""

import glob
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path

from loader.errors import InputError, UsageError
from loader.inputs.file import STANDARD_INPUT, File, local_file
from loader.inputs.object_store import list_files, remote_file

#: Names of hidden files, of marker files that tools write beside their output, and of incomplete files.
NO_EVENTS = re.compile(
    r"\.|dummy-object\.txt$|_SUCCESS$|_committed_|_started_|.*(_\$folder\$|\.crc|\.part|\.filepart|\.tmp|~)$"
)
#: The name of a folder in Segment's archive: a UTC day as Unix time, in seconds or milliseconds.
_DAY = re.compile(r"[0-9]{9,10}([0-9]{3})?")
_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Days:
    """The days of receipt to load, both inclusive; None is no limit. Raises UsageError if they are reversed."""

    first: date | None = None
    last: date | None = None

    def __post_init__(self) -> None:
        if self.first and self.last and self.first > self.last:
            raise UsageError(f"--from {self.first} is later than --to {self.last}; exchange them")

    def __bool__(self) -> bool:
        return self != Days()

    def have(self, path: str) -> bool:
        """Return whether a file was received on one of these days; False if its day is unknown and there is a limit."""
        if not self:
            return True
        day = received_day(path)
        return day is not None and (self.first or day) <= day <= (self.last or day)


def holds_events(path: str, size: int | None) -> bool:
    """Return whether a file may hold events, by its path below the listed folder and its size in bytes.

    >>> [holds_events(path, 9) for path in ("a/b.gz", "a/.git/b", "_SUCCESS", "a.gz.part")], holds_events("a.gz", 0)
    ([True, False, False, False], False)
    """
    return bool(size) and not any(NO_EVENTS.match(part) for part in path.split("/"))


def received_day(path: str) -> date | None:
    """Return the day that names the folder of a file in Segment's archive, None if it names none.

    >>> received_day("segment-logs/Xy1/1735689600000/a.gz"), received_day("logs/1735689600/a.gz"), received_day("a.gz")
    (datetime.date(2025, 1, 1), datetime.date(2025, 1, 1), None)
    """
    folder = path.replace("\\", "/").rpartition("/")[0].rpartition("/")[2]
    if not _DAY.fullmatch(folder):
        return None
    seconds = int(folder) // (1000 if len(folder) > 10 else 1)
    return None if seconds % _SECONDS else datetime.fromtimestamp(seconds, UTC).date()


def _is_never(_: Path) -> bool:
    return False


def discover(
    paths: Sequence[str], days: Days = Days(), is_excluded: Callable[[Path], bool] = _is_never
) -> tuple[list[File], list[InputError]]:
    """Return the files that paths, folders, globs and URLs refer to, each once and in order, and errors for the rest.

    Files in folders whose names or sizes exclude events are left out, files that were not received on these days, and
    local files that `is_excluded`.
    """
    found: dict[str, File] = {}
    errors: list[InputError] = []
    for path in paths:
        try:
            found.update((file.uri, file) for file in _expand(path, is_excluded) if days.have(file.uri))
        except InputError as exc:
            errors.append(exc)
    return list(found.values()), errors


def is_changed(file: File) -> bool:
    """Return whether a file has changed since it was listed.

    Raises InputError or OSError if it no longer exists.
    """
    return (now := current_file(file)).size != file.size or now.fingerprint != file.fingerprint


def current_file(file: File) -> File:
    """Return a file with its current size and fingerprint; a pipe or a table in memory unchanged.

    Raises InputError or OSError if it no longer exists.
    """
    if file.size is None or file.table is not None:
        return file
    return remote_file(file.uri) if file.is_remote else replace(local_file(Path(file.uri)), uri=file.uri)


def _expand(path: str, is_excluded: Callable[[Path], bool]) -> list[File]:
    if path == STANDARD_INPUT:
        return [File(path)]
    if "://" in path:
        found, problem = list_files(path), "holds no files"
        if [below for below, _ in found] == [""]:
            return [file for _, file in found]
    elif Path(path).is_dir():
        files = [p for p in sorted(Path(path).rglob("*")) if p.is_file()]
        found = [(p.relative_to(path).as_posix(), local_file(p)) for p in files if not is_excluded(p)]
        problem = "holds no files"
        if files and not found:
            return []
    elif Path(path).exists():
        if is_excluded(Path(path)):
            raise InputError(f"{path!r} is a private file of a spool, not events; name the folder of a source in it")
        return [local_file(Path(path))]
    else:
        matching = (Path(p) for p in sorted(glob.glob(path, recursive=True)))  # noqa: PTH207
        found = [(p.name, local_file(p)) for p in matching if p.is_file() and not is_excluded(p)]
        problem = "matches no files" if glob.has_magic(path) else "does not exist"
    if not found:
        raise InputError(f"{path!r} {problem}; check the path")
    return [file for below, file in found if holds_events(below, file.size)]
