"""Split text into JSON values that are not one a line: pretty-printed, one after the other, or elements of an array.

Offsets are found with numpy, without a Python object a value. Separators between values become blanks: commas, the
brackets of an array around the values, the record separators of JSON text sequences (RFC 7464), byte-order marks.

A value whose brackets, quotes or commas show that it is broken ends where the next value seems to begin, whichever
comes first: at a record separator; at a line that begins with `{` and is indented no deeper than the broken value's; at
a `{` directly after a `}`, with a comma between them in an array; or at a `{` that cannot be part of it. Other text
ends with its line, and so does a value that is followed by such text. The load rejects all of them.
"""

import json
import re
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise

import numpy as np

from loader.inputs.json_tokens import BLANK, OPEN_OBJECT, Ints, scan

#: Bytes of text that one pass scans, and those after a broken value, as the pass may end at the next one.
WINDOW, WINDOW_AFTER_BREAK = 1 << 20, 1 << 14


@dataclass(slots=True)
class Values:
    """Values found in a block, with the offsets at which they begin and end, and the depth after the last of them."""

    depth: int
    starts: list[Ints] = field(default_factory=list)
    ends: list[Ints] = field(default_factory=list)

    @property
    def end(self) -> int:
        return int(self.ends[-1][-1]) if self.ends else 0

    def add(self, starts: Ints, ends: Ints, depth: int) -> None:
        if len(ends):
            self.starts.append(starts)
            self.ends.append(ends)
        self.depth = depth

    def add_broken(self, start: int, end: int, block: bytearray) -> None:
        """Add a broken value. A record after it is not in an array."""
        is_record = block[end : end + 1] == b"\x1e"
        self.add(np.array([start], np.int32), np.array([end], np.int32), 0 if is_record else self.depth)


def split_values(block: bytearray, depth: int, *, final: bool) -> Values:
    """Return the values of a block that begins between two values, at depth 0, or 1 in an array.

    Replaces separators in the block by blanks. Text after the last end is a value that the block does not complete, or
    blank. In the final block, a broken value is complete, and a truncated one is not.
    """
    text, found, window = np.frombuffer(block, np.uint8), Values(depth), WINDOW
    while found.end < len(block):
        place, stop = found.end, min(found.end + window, len(block))
        is_last = stop == len(block)
        part = scan(text[place:stop], found.depth, final=final and is_last)
        found.add(part.starts + place, part.ends + place, part.depth)
        window = WINDOW if len(part.ends) else 2 * window
        if part.wrong is None and not (final and is_last):
            if is_last:
                break
        elif not _enter_array(block, found):
            start = skip_separators(block, found.end, found.depth)
            wrong = None if part.wrong is None else place + part.wrong
            end = find_next_value(block, start, found.depth, wrong, has_junk=part.has_junk)
            if end is None and (wrong is None or not final):
                break
            found.add_broken(start, end or len(block), block)
            window = WINDOW_AFTER_BREAK
    return found


#: Where a line end may have been lost.
_JOINED = re.compile(r"[}\]][ \t]*[{\x1e]")


def split_joined(line: str) -> list[str]:
    """Return the values of a line that has lost line ends, broken ones as well; the line itself if none is JSON.

    >>> split_joined('{"a": 1}{"b": {"c": 2} {"d": 3'), split_joined('{"a": "} {"')
    (['{"a": 1}', '{"b": {"c": 2} ', '{"d": 3'], ['{"a": "} {"'])
    """
    if not _JOINED.search(line):
        return [line]
    block = bytearray(line.encode())
    ends = [0, *(int(end) for ends in split_values(block, 0, final=True).ends for end in ends), len(block)]
    parts = [part.decode() for start, end in pairwise(ends) if (part := bytes(block[start:end])).strip()]
    return parts if any(map(_is_json, parts)) else [line]


def _is_json(text: str) -> bool:
    try:
        json.loads(text, parse_int=str)  # int() limits the number of digits
    except (ValueError, RecursionError):
        return False
    return True


def _enter_array(block: bytearray, found: Values) -> bool:
    """Go into an array that begins after the last value, or out of one in which a record begins; return whether so."""
    start = skip_separators(block, found.end, found.depth)
    enters = found.depth == 0 and block[start : start + 1] == b"["
    leaves = found.depth == 1 and block[start : start + 1] == b"\x1e"
    if enters or leaves:
        block[start] = BLANK
        found.depth = int(enters)
    return enters or leaves


_NOT_SEPARATOR = re.compile(rb"[^ \t\r\n,\x1e\xef\xbb\xbf]"), re.compile(rb"[^ \t\r\n]")


def skip_separators(block: bytearray, place: int, depth: int) -> int:
    """Return the offset of the first byte from a place on that does not separate values; replace those before it."""
    found = _NOT_SEPARATOR[depth].search(block, place)
    start = found.start() if found else len(block)
    block[place:start] = re.sub(rb"[^ \t\r\n]", b" ", block[place:start])
    return start


#: The beginning of the body of a batch call. Its events lack the fields that they share if they are read without it.
BATCH = re.compile(rb'"batch"\s*:\s*\[')


def find_next_value(
    block: bytes | bytearray, start: int, depth: int, wrong: int | None, *, has_junk: bool = False
) -> int | None:
    """Return where the value after a broken one seems to begin; None if no such place is found.

    The broken one begins at `start`, and does not go on at `wrong`, or is truncated if that is None. If it has junk, it
    ends with its line.
    """
    if start == len(block):
        return None
    if wrong is not None and has_junk:
        return block.find(b"\n", wrong) + 1 or None
    ends = []
    if wrong is not None and wrong > start and block[wrong] == OPEN_OBJECT:
        ends.append(wrong)
    for found in next_value(block, start, depth).finditer(block, start + 1):
        # A truncated value has nothing wrong in it: on the same line, this is within a string.
        if wrong is None and not found[0].startswith(b"\n"):
            continue
        ends.append(found.end())
        if not _is_inside(block, start, found.end(), wrong):
            break
    return next((end for end in sorted(ends) if not _is_inside(block, start, end, wrong)), None)


def _is_inside(block: bytes | bytearray, start: int, place: int, wrong: int | None) -> bool:
    """Return whether what begins at a place seems to be an element of a truncated value, or an event of a batch."""
    before = block[max(start, place - 99) : place].rstrip()
    return before[-1:] in (b",", b"[") and (wrong is None or BATCH.search(block, start, place) is not None)


def next_value(block: bytes | bytearray, start: int, depth: int) -> re.Pattern[bytes]:
    """Return the pattern before the next value after one that begins at `start`, and is broken."""
    indentation = start - max(block.rfind(b"\n", 0, start), block.rfind(b"}", 0, start)) - 1
    return _next_value(min(indentation, 99), depth, block[start] in b"{[")


@cache
def _next_value(indentation: int, depth: int, is_nested: bool) -> re.Pattern[bytes]:
    comma = rb",[ \t]*" if depth else b""
    line = rb"\n[ \t]{0,%d}(?:\}[ \t]*,?[ \t]*)?" % indentation
    end = b"" if is_nested else rb"|\n"
    return re.compile(rb"(?:%s|\}[ \t]*%s)(?=\{)|(?=\x1e)%s" % (line, comma, end))
