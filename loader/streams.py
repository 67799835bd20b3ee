"""Streams: the bytes of a file, whatever it is compressed with."""

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

import pyarrow as pa

from loader.elements import ElementError
from loader.errors import InputError, LoaderError, UnfinishedError
from loader.files import STANDARD_INPUT, File
from loader.listing import as_it_is
from loader.remote import open_remote

#: How compressed files begin, and pyarrow's name for what they are.
COMPRESSIONS = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
#: How files begin that cannot be read here, and what they are.
UNREADABLE = {
    b"BZh": "compressed with bzip2",
    b"PK\x03\x04": "a zip archive",
    b"\xfd7zXZ": "compressed with xz",
}


@contextmanager
def opened(file: File) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """Open a file as a stream of decompressed bytes, beside that of the bytes as stored.

    Raises InputError if it cannot be opened or read, or breaks off, then or while the body reads it; UnfinishedError
    if it breaks off and was changed just now.
    """
    try:
        with _raw(file) as raw:
            yield _decompressed(raw, file.uri), raw
    except ElementError as exc:
        raise InputError(f"{file.uri!r} {exc}; write one event a line instead of an array") from exc
    except (OSError, pa.ArrowInvalid) as exc:
        problem = getattr(exc, "strerror", None) or exc
        is_broken = getattr(exc, "errno", None) is None  # what the system says has a number
        if is_broken and as_it_is(file).is_settling:
            raise unfinished(file) from exc
        raise InputError(f"{file.uri!r} cannot be read: {problem}; it is read again once it is whole") from exc
    except Exception as exc:
        if isinstance(exc, LoaderError) or not file.is_remote:
            raise
        # A system's own package may raise whatever it likes.
        raise InputError(f"{file.uri!r} breaks off: {exc or type(exc).__name__}; load it again") from exc


def unfinished(file: File) -> UnfinishedError:
    """Return the error that a file is still being written."""
    return UnfinishedError(f"{file.uri!r} is still being written; what is missing is left for the next load")


def _raw(file: File) -> IO[bytes]:
    if file.uri == STANDARD_INPUT:
        return sys.stdin.buffer
    return open_remote(file.uri) if file.is_remote else Path(file.uri).open("rb")


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
