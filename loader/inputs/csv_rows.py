"""Split blocks of CSV bytes into rows, and count the cells of each, by the rules of RFC 4180."""

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
QUOTE, NEWLINE, RETURN = 34, 10, 13
#: Maximum size of a row in bytes before an open quote counts as malformed.
MAX_RECORD = 1 << 20


@dataclass(frozen=True, slots=True)
class RowBoundaries:
    """The rows of a block of bytes: the offset at which each ends, and its number of cells, 0 if it is malformed."""

    ends: Ints
    cells: Ints

    @property
    def starts(self) -> Ints:
        return np.concatenate([np.zeros(1, np.int64), self.ends[:-1]])

    def stops(self, text: npt.NDArray[np.uint8]) -> Ints:
        """Return the offset at which the content of each row ends, before its line end."""
        stops: Ints = self.ends - (text[self.ends - 1] == NEWLINE)
        is_return: npt.NDArray[np.bool_] = (stops > self.starts) & (text[stops - 1] == RETURN)
        return stops - is_return

    def split_last(self) -> "tuple[RowBoundaries, RowBoundaries | None]":
        """Return all rows but the last, and the last with offsets from its own start; None if there are no rows."""
        if not len(self.ends):
            return self, None
        before = int(self.ends[-2]) if len(self.ends) > 1 else 0
        return RowBoundaries(self.ends[:-1], self.cells[:-1]), RowBoundaries(self.ends[-1:] - before, self.cells[-1:])


def split_rows(block: bytes, delimiter: bytes, *, final: bool) -> RowBoundaries:
    r"""Return the complete rows of a block. In the final block, the last row needs no line end.

    >>> rows = split_rows(b'a,"b\nc",d\ne,"f\ng,h\n', b",", final=True)
    >>> rows.ends.tolist(), rows.cells.tolist()
    ([10, 15, 19], [3, 0, 2])
    """
    text = np.frombuffer(block, np.uint8)
    quotes = np.flatnonzero(text == QUOTE)
    if not _is_regular(text, quotes, delimiter[0]) or (len(quotes) % 2 and (final or len(block) > MAX_RECORD)):
        return _split_one_by_one(block, delimiter, final)
    ends = _outside(np.flatnonzero(text == NEWLINE), quotes) + 1
    if final and len(text) and (not len(ends) or ends[-1] < len(text)):
        ends = np.append(ends, len(text))
    marks = _outside(np.flatnonzero(text == delimiter[0]), quotes)
    cells = np.diff(np.searchsorted(marks, ends), prepend=0) + 1
    return RowBoundaries(ends.astype(np.int64), cells.astype(np.int64))


def _outside(places: npt.NDArray[np.intp], quotes: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    return places[np.searchsorted(quotes, places) % 2 == 0] if len(quotes) else places


def _is_regular(text: npt.NDArray[np.uint8], quotes: npt.NDArray[np.intp], delimiter: int) -> bool:
    """Return whether all quotes enclose whole cells, or are doubled inside them."""
    opening, closing = quotes[0::2], quotes[1::2]
    before = text[opening[opening > 0] - 1]
    after = text[closing[closing < len(text) - 1] + 1]
    return bool(
        np.isin(before, (delimiter, NEWLINE, QUOTE)).all() and np.isin(after, (delimiter, NEWLINE, RETURN, QUOTE)).all()
    )


def _split_one_by_one(block: bytes, delimiter: bytes, final: bool) -> RowBoundaries:
    mark = re.escape(delimiter)
    quoted = rb'"(?:[^"]++|"")*+"'
    cell = b"(?:" + quoted + b"|[^" + mark + rb'\n"][^' + mark + rb"\n]*+|)"
    record = re.compile(cell + b"(?:" + mark + cell + rb")*+\r?(?:\n|\Z)")
    outside = re.compile(b"(?:^|(?<=" + mark + b"))" + quoted)
    ends, cells, place = [], [], 0
    while place < len(block):
        found = record.match(block, place)
        if found and (found[0].endswith(b"\n") or final):
            end, count = found.end(), outside.sub(b"", found[0]).count(delimiter) + 1
        elif not final and len(block) - place <= MAX_RECORD:
            break
        else:
            end, count = block.find(b"\n", place) + 1 or len(block), 0
            if end == len(block) and not final and not block.endswith(b"\n"):
                break
        ends.append(end)
        cells.append(count)
        place = end
    return RowBoundaries(np.array(ends, np.int64), np.array(cells, np.int64))
