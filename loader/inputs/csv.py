"""Read a CSV file in chunks. Each row becomes an event; a malformed row becomes a reject that keeps its bytes."""

import codecs
import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import csv as arrow_csv

from loader.errors import InputError, UsageError
from loader.events.fields import COLUMN_FIELDS
from loader.events.outcomes import Reject
from loader.events.times import UTC
from loader.inputs.chunk import Chunk
from loader.inputs.csv_rows import Ints, RowBoundaries, split_rows
from loader.inputs.tabular import RowsToJson


@dataclass(frozen=True, slots=True)
class CsvDialect:
    """Delimiter and encoding of CSV files, None is detected in each file; for all tables the zone of times without one.

    Raises UsageError if one of them cannot be used.
    """

    delimiter: str | None = None
    encoding: str | None = None
    zone: str = UTC

    def __post_init__(self) -> None:
        if self.delimiter is not None and (len(self.delimiter.encode()) != 1 or self.delimiter in '"\r\n'):
            raise UsageError(f"delimiter {self.delimiter!r} cannot be used; give one ASCII character, like ;")
        try:
            codecs.lookup(self.encoding or "utf-8")
        except LookupError:
            raise UsageError(f"encoding {self.encoding!r} is unknown; give one like utf-8 or latin-1") from None


DELIMITERS = ",;\t|"
#: Encodings by byte-order mark.
_MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
#: Encoding assumed for what is not UTF-8, as in browsers. Bytes that it does not define are read as Latin 1.
_OLD = "cp1252"
codecs.register_error("as-latin-1", lambda exc: (exc.object[exc.start : exc.end].decode("latin-1"), exc.end))  # type: ignore[attr-defined]


class Utf8Stream:
    """Converts a stream of text to UTF-8, without its byte-order mark."""

    def __init__(self, stream: IO[bytes], encoding: str | None, size: int) -> None:
        self._stream, self._start = stream, stream.read(size)
        mark, marked = next(((m, name) for m, name in _MARKS.items() if self._start.startswith(m)), (b"", None))
        self.encoding = codecs.lookup(encoding or marked or _guessed(self._start)).name
        self._start = self._start.removeprefix(mark)
        errors = "as-latin-1" if encoding is None else "strict"
        self._decoder = None if self.encoding == "utf-8" else codecs.getincrementaldecoder(self.encoding)(errors)

    def read(self, size: int) -> bytes:
        """Return bytes of UTF-8, made from about `size` bytes of the stream; empty at the end."""
        while raw := self._start or self._stream.read(size):
            self._start = b""
            if self._decoder is None:
                return raw
            if text := self._decoder.decode(raw):
                return text.encode()
        return self._decoder.decode(b"", True).encode() if self._decoder else b""

    def raw(self, text: bytes) -> bytes:
        """Return UTF-8 text in the encoding of the stream."""
        return text if self._decoder is None else text.decode().encode(self.encoding, "replace")


def _guessed(start: bytes) -> str:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        return _OLD
    return "utf-8"


#: A first line with which Excel names the delimiter of the lines after it. A program that has saved the file again may
#: have quoted it, or added delimiters.
_SEPARATOR = re.compile(rb"""["']?sep=([\t !#-~])["']?[,;\t|]*\r?""", re.IGNORECASE)


def read_separator(line: bytes) -> str | None:
    """Return the delimiter that a line like `sep=;` names; None for any other line.

    >>> read_separator(b"sep=;\\r"), read_separator(b'"SEP=,",,,'), read_separator(b"sep;event")
    (';', ',', None)
    """
    found = _SEPARATOR.fullmatch(line)
    return found[1].decode() if found else None


def find_delimiter(heading: str) -> str:
    """Return the delimiter of a header: the one that gives the most known field names, then the most names.

    >>> find_delimiter("user_id;event;campaign, name"), find_delimiter("id")
    (';', ',')
    """
    known = {*COLUMN_FIELDS, *COLUMN_FIELDS.values()}
    cells = {mark: heading.split(mark) for mark in DELIMITERS}
    return max(DELIMITERS, key=lambda mark: (len(known & {c.strip(' "\r\n') for c in cells[mark]}), len(cells[mark])))


def is_heading(line: bytes) -> bool:
    """Return whether a line is a CSV header with the names of at least two fields of events, or names a delimiter."""
    if read_separator(line.removeprefix(codecs.BOM_UTF8)):
        return True
    text = line.decode("utf-8", "replace").lstrip("\ufeff")
    names = {name.strip(' "\r\n') for name in text.split(find_delimiter(text))}
    return len(names & {*COLUMN_FIELDS, *COLUMN_FIELDS.values()}) >= 2 and text.lstrip()[:1] not in {"{", "["}


def read_csv(stream: IO[bytes], uri: str, at: tuple[int, int], size: int, dialect: CsvDialect) -> Iterator[Chunk]:
    """Yield the rows of a CSV stream, starting `at` a position, in bytes of the UTF-8 text, and its line number.

    A last row without a line end is a chunk of its own that is not `ended`. Raises InputError for bytes that are
    invalid in the encoding, and if required columns are missing.
    """
    text = Utf8Stream(stream, dialect.encoding, size)
    try:
        yield from _read(text, uri, at, size, dialect)
    except UnicodeDecodeError as exc:
        raise InputError(f"{uri!r} is not {text.encoding}: {exc.reason}; give its encoding with --encoding") from exc


def _read(text: Utf8Stream, uri: str, at: tuple[int, int], size: int, dialect: CsvDialect) -> Iterator[Chunk]:
    rest = text.read(size)
    if not rest.strip():
        return
    first, newline, after = rest.partition(b"\n")
    named = read_separator(first)
    start, text_of_heading = (len(first + newline), after) if named else (0, rest)
    if not text_of_heading.strip():
        return
    detected = named or find_delimiter(text_of_heading.partition(b"\n")[0].decode("utf-8", "replace"))
    delimiter = (dialect.delimiter or detected).encode()
    heading = split_rows(text_of_heading, delimiter, final=True)
    end = start + int(heading.ends[:1].sum())
    names = next(csv.reader([rest[start:end].decode("utf-8", "replace")], delimiter=delimiter.decode()), [])
    table = CsvChunks(text, names, delimiter, uri)
    place, line = at if at[0] else (end, 1 + rest.count(b"\n", 0, end))
    skip = place
    while len(rest) < skip and (more := text.read(size)):
        skip, rest = skip - len(rest), more
    rest, final = rest[skip:], False
    while not final:
        more = text.read(size)
        final, block = not more, rest + more
        rows = split_rows(block, delimiter, final=final)
        whole, last = rows.split_last() if final and not block.endswith(b"\n") else (rows, None)
        stop = int(whole.ends[-1]) if len(whole.ends) else 0
        if stop:
            yield (chunk := table.chunk(block[:stop], whole, place, line))
            place, line = chunk.end, chunk.next_line
        rest = block[stop:]
        if last:
            yield table.chunk(rest, last, place, line, ended=False)


class CsvChunks:
    """Converts blocks of rows of one file into chunks."""

    def __init__(self, text: Utf8Stream, names: list[str], delimiter: bytes, uri: str) -> None:
        """Raise InputError if required columns are missing. Names at the end that are blank are no columns."""
        while names and not names[-1].strip():
            names = names[:-1]
        self._rows_to_json = RowsToJson(names, uri)
        self._text, self._delimiter = text, delimiter[0]
        self._width = len(names)
        columns = [str(n) for n in range(len(names))]
        self._read_options = arrow_csv.ReadOptions(column_names=columns, use_threads=False, block_size=1 << 30)
        self._parse_options = arrow_csv.ParseOptions(delimiter=delimiter.decode(), newlines_in_values=True)
        self._convert_options = arrow_csv.ConvertOptions(
            column_types=dict.fromkeys(columns, pa.string()),
            strings_can_be_null=True,
            null_values=[""],
            check_utf8=False,
        )

    def chunk(self, block: bytes, found: RowBoundaries, place: int, line: int, *, ended: bool = True) -> Chunk:
        """Return the chunk of a block of whole rows, which begins at a position and line.

        Rows without a value are left out. Empty cells after the last column are no cells.
        """
        content = np.frombuffer(block, np.uint8)
        breaks = np.flatnonzero(content == ord("\n"))
        lines = line + np.searchsorted(breaks, found.starts)
        lengths = np.diff(found.ends, prepend=0)
        is_blank = found.stops(content) - found.starts == found.cells - 1  # nothing but delimiters
        for n in np.flatnonzero(found.cells == 1).tolist():
            is_blank[n] = not block[found.starts[n] : found.ends[n]].strip()
        cells, surplus = self._without_surplus(content, found)
        good = (cells == self._width) & ~is_blank
        bad = {int(n): "malformed_row" for n in np.flatnonzero(~good & ~is_blank)}
        try:
            block.decode()
        except UnicodeDecodeError:
            bad |= dict.fromkeys(_not_utf8(block, found), "not_utf8")
            good[list(bad)] = False
        raws = {n: block[found.starts[n] : found.ends[n]] for n in sorted(bad)}
        rejects = [
            Reject(int(lines[n]), self._text.raw(raw).removesuffix(b"\n").removesuffix(b"\r"), bad[n])
            for n, raw in raws.items()
        ]
        is_whole = good.all() and not len(surplus)
        kept = block if is_whole else np.delete(content, np.append(surplus, np.flatnonzero(~np.repeat(good, lengths))))
        return Chunk(
            self._parsed(kept),
            line,
            line + len(breaks),
            place + len(block),
            ended=ended,
            lines=lines[good],
            rejects=tuple(rejects),
            positions=place + found.starts[good],
            has_decimal_commas=self._delimiter == ord(";"),
        )

    def _without_surplus(self, content: npt.NDArray[np.uint8], found: RowBoundaries) -> tuple[Ints, Ints]:
        """Return the cells of each row without empty ones after the last column, and the offsets of the latter."""
        cells, stops = found.cells.copy(), found.stops(content)
        surplus = [np.zeros(0, np.int64)]
        wide = np.flatnonzero(cells > self._width)
        while len(wide := wide[(cells[wide] > self._width) & (content[stops[wide] - 1] == self._delimiter)]):
            cells[wide] -= 1
            stops[wide] -= 1
            surplus.append(stops[wide])
        return cells, np.concatenate(surplus)

    def _parsed(self, rows: bytes | npt.NDArray[np.uint8]) -> pa.Array:
        if not len(rows):
            return pa.array([], pa.binary())
        source = pa.BufferReader(rows)
        table = arrow_csv.read_csv(source, self._read_options, self._parse_options, self._convert_options)
        return self._rows_to_json.texts(table.columns)


def _spans(found: RowBoundaries) -> Iterator[tuple[int, int]]:
    return zip(found.starts.tolist(), found.ends.tolist(), strict=True)


def _not_utf8(block: bytes, found: RowBoundaries) -> Iterator[int]:
    for n, (start, end) in enumerate(_spans(found)):
        try:
            block[start:end].decode()
        except UnicodeDecodeError:
            yield n
