"""Contents: the chunks of a file, whatever its format; of one that is being written, what is whole of it."""

import json
from collections.abc import Iterator
from typing import IO

from loader.chunks import Chunk, read_chunks
from loader.columnar import read_parquet, read_table
from loader.comma import is_heading, read_comma
from loader.dialect import Dialect
from loader.errors import InputError
from loader.files import File
from loader.listing import as_it_is, is_changed
from loader.streams import opened, unfinished

#: How names of CSV files end, before that of a compression.
_TABLES = (".csv", ".tsv")
_COMPRESSED = (".gz", ".zst", ".zstd")


def read_contents(file: File, position: int, line: int, size: int, dialect: Dialect) -> Iterator[tuple[Chunk, int]]:
    """Yield the chunks of a file from a position on, and how many of its bytes, as stored, have been read.

    Raises InputError if it cannot be read; UnfinishedError, after what is whole, if it is still being written: it
    breaks off and was changed just now, or it has changed while it was read.
    """
    if file.table is not None:
        yield from ((chunk, chunk.end) for chunk in read_table(file.table, file.uri, position))
        return
    with opened(file) as (stream, raw):
        for chunk in _chunks(stream, file, (position, line), size, dialect):
            consumed = raw.tell() if raw.seekable() else chunk.end
            if _is_cut(chunk) and as_it_is(file).is_settling:
                if chunk.lines is None:
                    yield chunk.without_last(), consumed
                raise unfinished(file)
            yield chunk, consumed
        if is_changed(file):
            raise unfinished(file)


def _chunks(stream: IO[bytes], file: File, at: tuple[int, int], size: int, dialect: Dialect) -> Iterator[Chunk]:
    """Yield the chunks of a stream in the format it begins like, or its name ends like."""
    start: bytes = stream.peek(1 << 16)  # type: ignore[attr-defined]
    if start.startswith(b"PAR1"):
        return read_parquet(stream, file.uri, at[0], size)
    name = file.uri.lower()
    for ending in _COMPRESSED:
        name = name.removesuffix(ending)
    is_wide = start.startswith((b"\xff\xfe", b"\xfe\xff"))
    is_json = start.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in {b"{", b"["}
    if not is_json and (name.endswith(_TABLES) or is_heading(start.partition(b"\n")[0])):
        return read_comma(stream, file.uri, at, size // 2, dialect)
    if is_wide:
        raise InputError(f"{file.uri!r} is encoded in UTF-16; convert it to UTF-8 JSON lines")
    return read_chunks(stream, position=at[0], line=at[1], size=size)


def _is_cut(chunk: Chunk) -> bool:
    """Tell whether a chunk ends in the middle of an event."""
    if chunk.ended or chunk.overlong:
        return False
    if chunk.lines is not None:  # a cell that is cut off looks like a whole one
        return True
    try:
        json.loads(chunk.raw(-1).strip() or b"null", parse_int=str)  # however many digits
    except ValueError:
        return True
    except RecursionError:  # it is deep, whatever it is
        return False
    return False
