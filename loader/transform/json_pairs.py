"""Parse and write JSON without loss: repeated keys, their order, numbers as text, and any depth."""

import json
import re
import secrets
from dataclasses import dataclass
from json.encoder import encode_basestring
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from loader.events.fields import CONTEXT, KNOWN_FIELDS, MAX_DEPTH, PROPERTIES, Path
from loader.events.values import is_exact

#: Brackets around a value that is not parsed, but kept as text. Objects that have columns are within fewer.
MAX_BRACKETS = MAX_DEPTH + 2
#: Brackets in a text that is parsed without a check of its depth.
MAX_NESTED = 100
#: A JSON string, a bracket, or a number or comma that DuckDB reads and Python does not.
_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+"|[\[\]{}]|\b(?:nan|inf(?:inity)?)\b|,(?=\s*[\]}])', re.IGNORECASE)
_REPLACEMENTS = {"n": "NaN", "i": "Infinity", ",": ""}
#: Begins a string that has the text of a value. No sender can know it.
_MARK = secrets.token_hex(16)


class Pairs(list[tuple[str, Any]]):
    """A JSON object, with repeated keys."""


class Raw(str):
    """A number or another value, as its JSON text."""


def parse_json(text: str) -> Any:
    """Return JSON that DuckDB reads, as `Pairs`, lists and scalars.

    >>> parse_json('{"a": 1.50, "a": [1e400, -inf, {},]}')
    [('a', '1.50'), ('a', ['1e400', '-Infinity', []])]
    """
    if text.count("[") + text.count("{") > MAX_NESTED:  # may be nested too deeply for Python's parser
        return _loads(_simplify(text))
    try:
        return _loads(text)
    except ValueError:
        return _loads(_simplify(text))


def _loads(text: str) -> Any:
    return json.loads(text, object_pairs_hook=Pairs, parse_int=Raw, parse_float=Raw, parse_constant=Raw)


def _simplify(text: str) -> str:
    """Return JSON that Python reads, with values that are within MAX_BRACKETS as strings."""
    pieces, depth, start, done = list[str](), 0, 0, 0
    for token in _TOKEN.finditer(text):
        first = token[0][0].lower()
        if first in _REPLACEMENTS and depth <= MAX_BRACKETS:
            pieces += [text[done : token.start()], _REPLACEMENTS[first]]
            done = token.end()
        elif first in "[{":
            depth += 1
            start = token.start() if depth == MAX_BRACKETS + 1 else start
        elif first in "]}":
            if depth == MAX_BRACKETS + 1:
                pieces += [text[done:start], json.dumps(_MARK + text[start : token.end()])]
                done = token.end()
            depth -= 1
    return "".join([*pieces, text[done:]])


def dump_json(value: Any) -> str:
    """Return the JSON of what `parse_json` returned.

    >>> deep = '{"a": ' + "[" * 9999 + "]" * 9999 + "}"
    >>> dump_json(parse_json(deep)) == deep
    True
    """
    if isinstance(value, Raw):
        return value
    if isinstance(value, str):
        return value[len(_MARK) :] if value.startswith(_MARK) else encode_basestring(value)
    if isinstance(value, Pairs):
        return "{" + ", ".join([f"{encode_basestring(key)}: {dump_json(inside)}" for key, inside in value]) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(dump_json, value)) + "]"
    return {True: "true", False: "false", None: "null"}[value]


#: Bytes of events in each part of a batch call that is split.
_PART = 1 << 17


def split_body(text: bytes) -> list[bytes]:
    r"""Return the body of a batch call as several with some of its events each; any other text as it is.

    >>> split_body(b'{"batch": [{"a": 1.50}], "sentAt": "x"}'), split_body(b'{"batch": [')
    ([b'{"batch": [{"a": 1.50}], "sentAt": "x"}'], [b'{"batch": ['])
    >>> split_body(rb'{"batch": ["\ud800"]}') == [rb'{"batch": ["\ud800"]}']
    True
    """
    try:
        body = parse_json(text.decode())
    except ValueError:
        return [text]
    fields = dict(body) if isinstance(body, Pairs) else {}
    events = fields.get("batch")
    if type(events) is not list or len(fields) < len(body) or fields.keys() & {"event", "type"}:
        return [text]
    parts, left = list[list[Any]](), 0
    for event in events:
        size = len(dump_json(event))
        if size > left:
            parts.append([])
            left = _PART
        parts[-1].append(event)
        left -= size
    bodies = [dump_json(Pairs((fields | {"batch": part}).items())) for part in parts]
    return [body.encode(errors="backslashreplace") for body in bodies] or [text]  # half a surrogate pair stays escaped


#: Bytes of numbers, how many of them in a row a double may not hold, and the bytes before a number.
_NUMERIC = np.zeros(256, np.bool_)
_NUMERIC[list(b"0123456789.")] = True
_LONG = 16
_BEFORE = np.zeros(256, np.bool_)
_BEFORE[list(b":,[ \t\r\n")] = True
#: A number, not in a string, with a fraction or an exponent, that is long or very small.
_NUMBER = re.compile(r"[:,\[\s](-?(?:(?=[\d.]{16})\d+(?:\.\d+|(?=[eE]))(?:[eE][+-]?\d+)?|\d+(?:\.\d+)?[eE]-\d{3,}))")


def find_long_numbers(texts: pa.StringArray) -> list[int]:
    """Return the indexes of the texts with a number whose digits a double does not hold, if they are valid JSON."""
    _, offsets, content = texts.buffers()
    if content is None:
        return []
    places = _suspicious_places(np.frombuffer(content, np.uint8))
    ends = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    found = np.unique(np.searchsorted(ends, places, side="right") - 1)
    candidates = found[(found >= 0) & (found < len(texts))].tolist()
    return [n for n in candidates if not all(map(is_exact, _NUMBER.findall(texts[n].as_py())))]


def _suspicious_places(text: npt.NDArray[np.uint8]) -> npt.NDArray[np.intp]:
    """Return offsets in what may be numbers with _LONG digits and points in a row, or with an exponent of three digits.

    A run covers two successive multiples of 8, so only one byte in eight is looked at first.
    """
    is_numeric = _NUMERIC.take(text[::8])
    runs = np.flatnonzero(is_numeric[:-1] & is_numeric[1:]) * 8
    for step in range(1, 8):
        runs = runs[_NUMERIC[text[runs + step]]]
    runs = runs[_end_of_run(text, runs + 8, 1) - _end_of_run(text, runs, -1) >= _LONG - 1]
    exponents = np.flatnonzero(text == ord("-"))
    exponents = exponents[text[exponents - 1] | 0x20 == ord("e")]
    exponents = exponents[(exponents > 1) & (exponents < len(text) - 3)]
    for step in (-2, 1, 2, 3):
        exponents = exponents[_NUMERIC[text[exponents + step]]]
    places = np.concatenate([runs, exponents - 2])
    before = _end_of_run(text, places, -1) - 1
    before -= text[before] == ord("-")
    return places[_BEFORE[text[before]]]


def _end_of_run(text: npt.NDArray[np.uint8], places: npt.NDArray[np.intp], step: int) -> npt.NDArray[np.intp]:
    """Return where the digits and points at some places end, going by a step of 1 or -1, at most _LONG steps away."""
    for _ in range(_LONG):
        beyond = np.clip(places + step, 0, len(text) - 1)
        places = np.where(_NUMERIC[text[beyond]], beyond, places)
    return places


#: Begins a string that replaces a number whose digits a double cannot hold. No sender can know it.
LONG_NUMBER = secrets.token_hex(16)
_LONG_NUMBER = re.compile(f'"{LONG_NUMBER}([^"]*)"')


def mark_long_numbers(event: Any) -> Any:
    """Return an event, or the body of a batch call, whose long numbers are strings that begin with LONG_NUMBER.

    The fields that have columns keep theirs: these are identifiers and times.
    """
    return Pairs((key, _mark_field(key, value)) for key, value in event) if isinstance(event, Pairs) else event


def _mark_field(key: str, value: Any) -> Any:
    if key == "batch" and isinstance(value, list):
        return [mark_long_numbers(event) for event in value]
    return value if key in KNOWN_FIELDS - {CONTEXT, PROPERTIES} else _mark(value)


def _mark(value: Any) -> Any:
    if isinstance(value, Raw):
        is_long = re.fullmatch(r"-?\d+(\.\d+)?([eE][+-]?\d+)?", value) and not value.lstrip("-").isdigit()
        return LONG_NUMBER + value if is_long and not is_exact(value) else value
    if isinstance(value, Pairs):
        return Pairs((key, _mark(inside)) for key, inside in value)
    return [_mark(inside) for inside in value] if isinstance(value, list) else value


def unmark_long_numbers(text: str) -> str:
    """Return JSON text with the numbers that `mark_long_numbers` has replaced."""
    return _LONG_NUMBER.sub(r"\1", text)


def is_value(value: Any) -> bool:
    """Return whether a value counts as one: null and empty objects do not."""
    return value is not None and not (isinstance(value, Pairs) and not value)


@dataclass(frozen=True, slots=True)
class Values:
    """The values of an event by path: those outside other objects that have columns, and those of repeated keys."""

    first: list[tuple[Path, Any]]
    repeated: list[tuple[Path, Any]]


def find_values(event: Pairs) -> Values:
    """Return the values of an event, with nulls and empty objects.

    >>> find_values(parse_json('{"type": "track", "context": {"a": 1, "b": {"c": 2, "c": null}, "a": {}}}'))
    ... # doctest: +NORMALIZE_WHITESPACE
    Values(first=[(('type',), 'track'), (('context', 'a'), '1'), (('context', 'b', 'c'), '2')],
           repeated=[(('context', 'b', 'c'), None), (('context', 'a'), [])])
    """
    found = Values([], [])
    _walk((), event, found)
    return found


def _walk(path: Path, pairs: Pairs, found: Values) -> None:
    """Add the values of an object, descending into those objects whose values have columns."""
    seen = set()
    for key, value in pairs:
        below = (*path, key)
        if key in seen:
            found.repeated.append((below, value))
        elif isinstance(value, Pairs) and value and below[0] in {CONTEXT, PROPERTIES} and len(below) < MAX_DEPTH:
            _walk(below, value, found)
        else:
            found.first.append((below, value))
        seen.add(key)
