"""Derive column types from JSON values, replace characters that PostgreSQL cannot store, split objects."""

import json
import math
import re
from datetime import UTC, datetime

TEXT, BIGINT, DOUBLE, BOOLEAN = "text", "bigint", "double precision", "boolean"
TIMESTAMPTZ = "timestamp with time zone"

#: A full ISO 8601 date and time. Without an offset it is UTC. Digits beyond microseconds are cut off.
ISO_8601 = (
    "^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]+)?)?(Z|[+-]([01][0-9]|2[0-3]):?[0-5][0-9])?$"
)
#: The range of a bigint.
BIGINTS = range(-(2**63), 2**63)


def is_text(kind: str) -> bool:
    """Return whether a column type holds text: `text`, or `character varying`, if a user has changed it.

    >>> is_text("text"), is_text("character varying(99)"), is_text("bigint")
    (True, True, False)
    """
    return kind == TEXT or kind.startswith("character varying")


def column_type(value: str) -> str:
    """Return the type that Segment gives a column whose first value is this JSON text.

    >>> [column_type(value) for value in ("5", "5.0", '"5"', "false", "[5]", '"2024-01-01T00:00:00Z"')]
    ['bigint', 'double precision', 'text', 'boolean', 'text', 'timestamp with time zone']
    >>> [column_type(value) for value in ("9223372036854775808", "1e400", '"2024-01-01"')]
    ['text', 'text', 'text']
    """
    if value in {"true", "false"}:
        return BOOLEAN
    if value.startswith('"'):
        return TIMESTAMPTZ if _is_time(json.loads(value)) else TEXT
    if re.fullmatch("-?[0-9]{1,19}", value):
        return BIGINT if int(value) in BIGINTS else TEXT
    if re.fullmatch("-?[0-9]+([.][0-9]+)?([eE][+-]?[0-9]+)?", value):
        return DOUBLE if re.search("[.eE]", value) and math.isfinite(float(value)) else TEXT
    return TEXT


def _is_time(text: str) -> bool:
    """Return whether a text is a time that the casts in `loader.duckdb` accept."""
    if not re.fullmatch(ISO_8601[1:-1], text):
        return False
    try:
        moment = datetime.fromisoformat(text)
        (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return False
    return True


def is_exact(number: str) -> bool:
    """Return whether a double holds all digits of a JSON number with a fraction or an exponent.

    It does if writing it as short as possible, or with the 17 digits that identify any double, gives the same digits.

    >>> [is_exact(number) for number in ("100.50", "1e3", "0.30000000000000004", "0.10000000000000001", "-0.0e9")]
    [True, True, True, True, True]
    >>> [is_exact(number) for number in ("0.1234567890123456789", "12345678901234567.5", "1e-400")]
    [False, False, False]
    """
    double = float(number)
    return _digits(number) in {_digits(repr(double)), _digits(f"{double:.16e}")} or math.isinf(double)


def _digits(number: str) -> str:
    return re.sub("[-.]", "", number.lower().partition("e")[0]).strip("0")


#: An escape in a JSON string. Group 1 matches what PostgreSQL cannot store: U+0000 or half of a surrogate pair.
_ESCAPE = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u(?:0000|[dD][89a-fA-F][0-9a-fA-F]{2}))|\\."
)


def repair(text: str) -> tuple[str, int]:
    r"""Return JSON text with U+FFFD for each character that PostgreSQL cannot store, and their number.

    >>> repair(r'"\u0000 \\u0000 \ud83d\ude00 \ud83d"')
    ('"\\ufffd \\\\u0000 \\ud83d\\ude00 \\ufffd"', 2)
    """
    count = 0

    def replacement(match: re.Match[str]) -> str:
        nonlocal count
        count += match[1] is not None
        return "\\ufffd" if match[1] else match[0]

    return _ESCAPE.sub(replacement, text), count


#: Whitespace between tokens of JSON.
_BLANKS = re.compile(r"[ \t\r\n]*")


def split_object(text: str) -> list[tuple[str, str]]:
    """Return the names and the values of a JSON object in their order, each value as its text, with repeated names.

    >>> split_object('{"a": [1, 2.0], "a" :null }')
    [('a', '[1, 2.0]'), ('a', 'null')]
    """
    pairs, at, decode = [], _skip(text, text.index("{") + 1), json.JSONDecoder(parse_int=str).raw_decode
    while text[at] != "}":
        name, at = decode(text, at)
        begin = _skip(text, _skip(text, at) + 1)
        _, end = decode(text, begin)
        pairs.append((name, text[begin:end]))
        at = _skip(text, end)
        at = _skip(text, at + 1) if text[at] == "," else at
    return pairs


def _skip(text: str, at: int) -> int:
    return _BLANKS.match(text, at).end()  # type: ignore[union-attr]
