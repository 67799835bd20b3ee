"""Detect the compression and the format of a file, and read it as chunks."""

import io
import json
import sys
from codecs import BOM_UTF8
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

import pyarrow as pa

from loader.errors import InputError, LoaderError, UnfinishedError
from loader.inputs.chunk import Chunk
from loader.inputs.csv import CsvDialect, is_heading, read_csv
from loader.inputs.discovery import current_file, is_changed
from loader.inputs.file import STANDARD_INPUT, File
from loader.inputs.json_batch import BatchError
from loader.inputs.json_lines import NoJsonError, read_chunks
from loader.inputs.object_store import open_remote
from loader.inputs.parquet import read_parquet, read_table
from loader.inputs.unsupported import describe_unsupported, wide_encoding

#: pyarrow's names of compressions, by the first bytes of a file.
COMPRESSIONS = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
#: First bytes of a file that are looked at.
_START = 1 << 16
#: What events come in.
_FORMATS = "events are JSON, CSV with a heading, or Parquet"


@contextmanager
def open_file(file: File) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """Open a file; return the stream of decompressed bytes, and that of the stored bytes.

    Raises InputError if the file cannot be opened or read or is truncated, also while the body reads it;
    UnfinishedError if it is truncated and was changed recently.
    """
    try:
        with _raw(file) as raw:
            yield _decompressed(raw, file.uri), raw
    except NoJsonError as exc:
        raise InputError(f"{file.uri!r} holds no events: {exc}; {_FORMATS}") from exc
    except BatchError as exc:
        if current_file(file).is_settling:
            raise unfinished_error(file) from exc
        raise InputError(f"{file.uri!r} {exc}; repair it, or write one event a line") from exc
    except (OSError, pa.ArrowInvalid) as exc:
        problem = getattr(exc, "strerror", None) or exc
        is_broken = getattr(exc, "errno", None) is None  # errors of the operating system have one
        if is_broken and current_file(file).is_settling:
            raise unfinished_error(file) from exc
        raise InputError(f"{file.uri!r} cannot be read: {problem}; repair it and load it again") from exc
    except Exception as exc:
        if isinstance(exc, LoaderError) or not file.is_remote:
            raise
        # Packages of fsspec may raise errors of their own.
        raise InputError(f"reading {file.uri!r} failed: {exc or type(exc).__name__}; load it again") from exc


def unfinished_error(file: File) -> UnfinishedError:
    """Return the error for a file that is still being written."""
    return UnfinishedError(f"{file.uri!r} is still being written; the next load reads the rest")


def _raw(file: File) -> IO[bytes]:
    if file.uri == STANDARD_INPUT:
        return sys.stdin.buffer
    return open_remote(file.uri) if file.is_remote else Path(file.uri).open("rb")


def _decompressed(raw: IO[bytes], uri: str) -> IO[bytes]:
    start = _start(raw, uri)
    kind = _compression(start)
    if not kind:
        return raw
    stream = pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), kind)
    content = cast(IO[bytes], io.BufferedReader(stream, 1 << 20))
    if _compression(_start(content, uri)):
        raise InputError(f"{uri!r} is compressed twice; decompress it once")
    return content


def _start(stream: IO[bytes], uri: str) -> bytes:
    """Return the first bytes of a stream. Raises InputError if they are those of a kind that is not read."""
    start: bytes = stream.peek(_START)[:_START]  # type: ignore[attr-defined]
    if problem := describe_unsupported(start):
        raise InputError(f"{uri!r} {problem}")
    return start


def _compression(start: bytes) -> str | None:
    return next((kind for magic, kind in COMPRESSIONS.items() if start.startswith(magic)), None)


#: Suffixes of CSV files, and those of compressions that may follow them.
_TABLES = (".csv", ".tsv")
_COMPRESSED = (".gz", ".zst", ".zstd")


def read_contents(file: File, position: int, line: int, size: int, dialect: CsvDialect) -> Iterator[tuple[Chunk, int]]:
    """Yield the chunks of a file from a position and line on, each with the number of stored bytes read so far.

    Raises InputError if it cannot be read. Raises UnfinishedError after the complete chunks if it is still being
    written: if it is truncated and was changed recently, or has changed since it was listed.
    """
    if file.table is not None:
        yield from ((chunk, chunk.end) for chunk in read_table(file.table, file.uri, position, dialect.zone))
        return
    with open_file(file) as (stream, raw):
        for chunk in _chunks(stream, file, (position, line), size, dialect):
            consumed = raw.tell() if raw.seekable() else chunk.end
            if _is_cut(chunk) and current_file(file).is_settling:
                if chunk.positions is None:
                    yield chunk.without_last(), consumed
                raise unfinished_error(file)
            yield chunk, consumed
        if is_changed(file):
            raise unfinished_error(file)


def _chunks(stream: IO[bytes], file: File, at: tuple[int, int], size: int, dialect: CsvDialect) -> Iterator[Chunk]:
    """Return the chunks of a stream in the format that its first bytes or its name indicate."""
    start: bytes = stream.peek(_START)  # type: ignore[attr-defined]
    if start.startswith(b"PAR1"):
        return read_parquet(stream, file.uri, at[0], size, dialect.zone)
    name = file.uri.lower()
    for ending in _COMPRESSED:
        name = name.removesuffix(ending)
    is_json = start.removeprefix(BOM_UTF8).lstrip()[:1] in {b"{", b"[", b"\x1e"}
    if not is_json and (name.endswith(_TABLES) or is_heading(start.partition(b"\n")[0])):
        return read_csv(stream, file.uri, at, size // 2, dialect)
    if encoding := wide_encoding(start):
        raise InputError(f"{file.uri!r} is in {encoding.upper()[:6]}; convert it to UTF-8")
    return read_chunks(stream, position=at[0], size=size)


def _is_cut(chunk: Chunk) -> bool:
    """Return whether a chunk ends in the middle of an event."""
    if chunk.ended or chunk.overlong:
        return False
    if chunk.positions is not None:  # a truncated cell looks like a complete one
        return True
    try:
        json.loads(chunk.raw(-1).strip() or b"null", parse_int=str)  # int() limits the number of digits
    except ValueError:
        return True
    except RecursionError:  # nested too deeply to check
        return False
    return False
