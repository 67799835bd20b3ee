"""Contents: the chunks of a file, whatever its format; of one that is being written, what is whole of it."""

import json
from collections.abc import Iterator

from loader.chunks import Chunk, read_chunks
from loader.dialect import Dialect
from loader.files import File
from loader.listing import as_it_is, is_changed
from loader.streams import opened, unfinished


def read_contents(file: File, position: int, line: int, size: int, dialect: Dialect) -> Iterator[tuple[Chunk, int]]:
    """Yield the chunks of a file from a position on, and how many of its bytes, as stored, have been read.

    Raises InputError if it cannot be read; UnfinishedError, after what is whole, if it is still being written: it
    breaks off and was changed just now, or it has changed while it was read.
    """
    with opened(file) as (stream, raw):
        for chunk in read_chunks(stream, position=position, line=line, size=size):
            consumed = raw.tell() if raw.seekable() else chunk.end
            if _is_cut(chunk) and as_it_is(file).is_settling:
                yield chunk.without_last(), consumed
                raise unfinished(file)
            yield chunk, consumed
        if is_changed(file):
            raise unfinished(file)


def _is_cut(chunk: Chunk) -> bool:
    """Tell whether a chunk ends in the middle of an event."""
    if chunk.ended or chunk.overlong:
        return False
    try:
        json.loads(chunk.raw(-1).strip() or b"null", parse_int=str)  # however many digits
    except ValueError:
        return True
    except RecursionError:  # it is deep, whatever it is
        return False
    return False
