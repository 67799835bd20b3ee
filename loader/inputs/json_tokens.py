"""Find JSON values in a text by the offsets of its brackets, commas and quotes, with numpy.

Python does no work per value. Offsets at which no valid value goes on are found too: of brackets that do not match, of
values without a comma between them, of strings that contain a line end.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int32]
Flags = npt.NDArray[np.bool_]

QUOTE, BACKSLASH, BLANK, COMMA, NEWLINE, RETURN, RECORD = *b'"\\ ,\n\r', 0x1E
OPEN_LIST, CLOSE_LIST, OPEN_OBJECT, CLOSE_OBJECT = b"[]{}"
#: What each byte adds to the nesting depth.
STEPS = np.zeros(256, np.int8)
STEPS[[OPEN_LIST, OPEN_OBJECT]] = 1
STEPS[[CLOSE_LIST, CLOSE_OBJECT]] = -1
#: An opening bracket and its closing one differ by two.
PAIR = 2
#: Blanks before an object or array that are searched for what is before them.
MAX_BLANKS = 256
#: Depth down to which brackets are matched and commas are checked.
MAX_CHECKED_DEPTH = 64


def _table(characters: bytes) -> Flags:
    """Return whether each byte is one of these."""
    table = np.zeros(256, np.bool_)
    table[list(characters)] = True
    return table


TOKENS = _table(b'"[]{},\n\x1e')
#: Bytes that may come before and after a string, before an object or array within a value, and between values.
BEFORE_STRING, AFTER_STRING = _table(b" \t\r\n[{,:"), _table(b" \t\r\n]},:")
BEFORE_VALUE = _table(b" \t\r\n[,:")
JUNK_MAY_FOLLOW = _table(b" \t\r,")
SEPARATORS, WHITESPACE = _table(b" \t\r\n,\x1e\xef\xbb\xbf"), _table(b" \t\r\n")


@dataclass(slots=True)
class Tokens:
    """Brackets, commas, quotes and record separators of a text: offsets, bytes, steps, and the depth after each.

    `wrong` are offsets at which no valid value goes on.
    """

    places: Ints
    kinds: Bytes
    steps: npt.NDArray[np.int8]
    after: Ints
    wrong: list[Ints] = field(default_factory=list)

    @property
    def before(self) -> Ints:
        return self.after - self.steps


def find_tokens(text: Bytes, depth: int) -> Tokens:
    """Return the tokens of a text that begins outside strings, at a nesting depth."""
    places = np.flatnonzero(TOKENS[text]).astype(np.int32)
    kinds = text[places]
    is_quote = kinds == QUOTE
    is_quote[is_quote] = ~_are_escaped(text, places[is_quote])
    is_inside = np.logical_xor.accumulate(is_quote) & ~is_quote
    quotes = places[is_quote]
    opening, closing = quotes[0::2], quotes[1::2]
    opening, closing = opening[opening > 0], closing[closing < len(text) - 1]
    wrong = [
        places[is_inside & ((kinds == NEWLINE) | (kinds == RECORD))],
        opening[~BEFORE_STRING[text[opening - 1]]],
        closing[~AFTER_STRING[text[closing + 1]]],
    ]
    is_token = ~is_inside & (kinds != NEWLINE)
    places, kinds = places[is_token], kinds[is_token]
    steps = STEPS[kinds]
    return Tokens(places, kinds, steps, np.cumsum(steps, dtype=np.int32) + np.int32(depth), wrong)


def _are_escaped(text: Bytes, quotes: Ints) -> Flags:
    """Return which quotes follow an odd number of backslashes."""
    escaped = np.zeros(len(quotes), np.bool_)
    doubtful = np.flatnonzero((quotes > 0) & (text[quotes - 1] == BACKSLASH))
    if len(doubtful):
        backslashes = np.flatnonzero(text == BACKSLASH)
        is_first = np.diff(backslashes, prepend=-PAIR) != 1
        firsts = backslashes[is_first][np.cumsum(is_first) - 1]
        ends = quotes[doubtful]
        escaped[doubtful] = (ends - firsts[np.searchsorted(backslashes, ends - 1)]) % 2 == 1
    return escaped


@dataclass(frozen=True, slots=True)
class Scan:
    """The values that end in a text: where each begins and ends, with separators around it.

    `depth` is that after the last of them: 1 in an array, else 0. `wrong` is the first offset at which something is
    wrong, if any. `has_junk` says that it follows a complete value on its line, which is not among these.
    """

    starts: Ints
    ends: Ints
    depth: int
    wrong: int | None
    has_junk: bool = False


def scan(text: Bytes, depth: int, *, final: bool) -> Scan:
    """Find the values of a text that begins between two values, and replace the separators before the last end.

    An object that ends with a text which is not final is left to a longer text: junk may follow on its line.
    """
    tokens = find_tokens(text, depth)
    places, kinds, steps, after, before = tokens.places, tokens.kinds, tokens.steps, tokens.after, tokens.before
    is_root = (before == 0) & (steps > 0)
    in_array = np.append(depth == 1, kinds[is_root] == OPEN_LIST)[np.cumsum(is_root)]
    is_comma = (kinds == COMMA) & in_array & (after == 1)
    is_end = (after == 0) & (steps < 0)
    is_cut = is_comma | is_end
    gaps = _gaps(places, is_root, is_end, depth, len(text))
    first_wrong = _first_wrong(text, tokens, gaps, depth)
    cuts = np.flatnonzero(is_cut & (places < first_wrong))
    has_junk = False
    if len(cuts) and kinds[cuts[-1]] == CLOSE_OBJECT:
        following = text[places[cuts[-1]] + 1 : first_wrong]
        is_doubtful = bool(JUNK_MAY_FOLLOW[following].all())
        has_junk = is_doubtful and first_wrong < len(text)
        if has_junk or (is_doubtful and not final):
            cuts = cuts[:-1]
    if not len(cuts):
        return Scan(places[:0], places[:0], depth, first_wrong if first_wrong < len(text) else None, has_junk)
    ends = _with_line_ends(text, places[cuts] + 1)
    is_separator = is_comma | (in_array & (is_root | is_end))
    blanks = np.concatenate([places[is_separator], gaps[~WHITESPACE[text[gaps]]]])
    text[blanks[blanks < ends[-1]]] = BLANK
    begins = np.concatenate([np.zeros(1, np.int32), ends[:-1]])
    values = np.append(places[~is_separator & ((before > 0) | is_root)], len(text))
    starts = values[np.searchsorted(values, begins)]
    return Scan(
        np.where(starts < ends, starts, begins),
        ends,
        int(is_comma[cuts[-1]]),
        first_wrong if first_wrong < len(text) else None,
        has_junk,
    )


def _gaps(places: Ints, is_root: Flags, is_end: Flags, depth: int, length: int) -> Ints:
    """Return the offsets of all bytes at depth 0."""
    begins = np.append(np.zeros(1 - depth, np.int32), places[is_end] + 1)
    ends = np.append(places[is_root], length)[: len(begins)]
    begins = begins[: len(ends)]
    lengths = np.maximum(ends - begins, 0)
    firsts = np.cumsum(lengths) - lengths
    offsets: Ints = np.arange(int(lengths.sum())) + np.repeat(begins - firsts, lengths)
    return offsets


def _first_wrong(text: Bytes, tokens: Tokens, gaps: Ints, depth: int) -> int:
    """Return the first offset at which no valid value goes on; the length of the text if there is none."""
    places, kinds, steps, before = tokens.places, tokens.kinds, tokens.steps, tokens.before
    wrong = [
        *tokens.wrong,
        places[(kinds == RECORD) & (before > 0)],
        places[(steps < 0) & (before <= 0)],
        gaps[~SEPARATORS[text[gaps]]],
        places[1:][(kinds[1:] == QUOTE) & (steps[:-1] < 0) & (before[1:] > 0)],  # without a comma
        *_misplaced(text, tokens, depth),
    ]
    return min((int(found.min()) for found in wrong if len(found)), default=len(text))


def _misplaced(text: Bytes, tokens: Tokens, depth: int) -> list[Ints]:
    """Return the offsets of brackets that cannot be where they are: of the wrong kind, or without a comma or a key."""
    brackets = np.flatnonzero(tokens.steps)
    places, kinds, is_opening = tokens.places[brackets], tokens.kinds[brackets], tokens.steps[brackets] > 0
    levels = np.maximum(tokens.after, tokens.before)[brackets]
    nested = np.flatnonzero(is_opening & (levels > 1))
    previous = _previous_bytes(text, places[nested])
    wrong = [places[nested[~BEFORE_VALUE[previous]]]]
    elements = nested[previous == COMMA]
    for level in range(1, min(int(levels.max(initial=0)), MAX_CHECKED_DEPTH) + 1):
        here = np.flatnonzero(levels == level)
        outer = np.append(np.uint8(OPEN_LIST if depth == level else 0), kinds[here])
        inside = elements[levels[elements] == level + 1]
        wrong.append(places[here[~is_opening[here] & (outer[:-1] + PAIR != kinds[here])]])
        wrong.append(places[inside[outer[np.searchsorted(here, inside)] != OPEN_LIST]])
    return wrong


def _previous_bytes(text: Bytes, places: Ints) -> Bytes:
    """Return the last byte before each place that is not blank; a blank if there are too many, or nothing before."""
    before = places - 1
    for _ in range(MAX_BLANKS):
        blank = np.flatnonzero((before >= 0) & WHITESPACE[text[before]])
        if not len(blank):
            break
        before[blank] -= 1
    return np.where(before < 0, np.uint8(BLANK), text[before])


def _with_line_ends(text: Bytes, ends: Ints) -> Ints:
    """Return the ends of values, after the line end that follows directly."""
    padded = np.append(text, np.zeros(2, np.uint8))
    has_return = (padded[ends] == RETURN) & (padded[ends + 1] == NEWLINE)
    return ends + np.where(has_return, 2, padded[ends] == NEWLINE)
