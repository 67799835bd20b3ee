"""Files: which ones a path means, and what is in them, whatever they are compressed with."""

import glob
import io
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import pyarrow as pa

from loader.elements import ElementError
from loader.errors import InputError

STANDARD_INPUT = "-"

#: How compressed files begin, and pyarrow's name for what they are.
COMPRESSIONS = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
#: How files begin that cannot be read here, and what they are.
UNREADABLE = {
    b"BZh": "compressed with bzip2",
    b"PK\x03\x04": "a zip archive",
    b"\xfd7zXZ": "compressed with xz",
    b"PAR1": "a Parquet file",
    b"\xff\xfe": "encoded in UTF-16",
    b"\xfe\xff": "encoded in UTF-16",
}


@dataclass(frozen=True, slots=True)
class File:
    """An input: where it is, its bytes as stored, a mark that changes with its content; both None for a pipe."""

    uri: str
    size: int | None = None
    fingerprint: str | None = None


def discover(paths: Sequence[str]) -> tuple[list[File], list[InputError]]:
    """Return the files that paths, folders and globs mean, once each and in order, and what is wrong with others."""
    found: dict[str, File] = {}
    errors: list[InputError] = []
    for path in paths:
        try:
            found.update((file.uri, file) for file in _expand(path))
        except InputError as exc:
            errors.append(exc)
    return list(found.values()), errors


def _expand(path: str) -> list[File]:
    if path == STANDARD_INPUT:
        return [File(path)]
    if Path(path).is_dir():
        files = [p for p in sorted(Path(path).rglob("*")) if p.is_file() and not _hidden(p.relative_to(path))]
        problem = "holds no files"
    elif Path(path).exists():
        files, problem = [Path(path)], ""
    else:
        files = [Path(p) for p in sorted(glob.glob(path, recursive=True)) if Path(p).is_file()]  # noqa: PTH207
        problem = "matches no files" if glob.has_magic(path) else "does not exist"
    if not files:
        raise InputError(f"{path!r} {problem}; check the path")
    return [_stat(p) for p in files]


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _stat(path: Path) -> File:
    status = path.stat()
    uri = str(path.absolute()).encode("utf-8", "backslashreplace").decode()
    return File(uri, status.st_size, f"{status.st_mtime_ns}")


@contextmanager
def opened(file: File) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """Open a file as a stream of decompressed bytes, beside that of the bytes as stored.

    Raises InputError if it cannot be opened or read, or breaks off, then or while the body reads it.
    """
    try:
        with _raw(file.uri) as raw:
            yield _decompressed(raw, file.uri), raw
    except ElementError as exc:
        raise InputError(f"{file.uri!r} {exc}; write one event a line instead of an array") from exc
    except OSError as exc:
        raise InputError(
            f"{file.uri!r} cannot be read: {exc.strerror or exc}; it is read again once it is whole"
        ) from exc


def _raw(uri: str) -> IO[bytes]:
    return sys.stdin.buffer if uri == STANDARD_INPUT else Path(uri).open("rb")


def _decompressed(raw: IO[bytes], uri: str) -> IO[bytes]:
    start: bytes = raw.peek(6)[:6]  # type: ignore[attr-defined]
    for magic, kind in UNREADABLE.items():
        if start.startswith(magic):
            raise InputError(f"{uri!r} is {kind}; convert it to UTF-8 JSON lines, plain, gzip or zstd")
    for magic, kind in COMPRESSIONS.items():
        if start.startswith(magic):
            stream = pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), kind)
            return cast(IO[bytes], io.BufferedReader(stream, 1 << 20))
    return raw
