"""Characters that JSON can spell and PostgreSQL cannot store."""

import json
import math
import re
from datetime import UTC, datetime

TEXT, BIGINT, DOUBLE, BOOLEAN = "text", "bigint", "double precision", "boolean"
TIMESTAMPTZ = "timestamp with time zone"

#: A full ISO 8601 date and time; without an offset it is UTC. What is finer than a microsecond is cut off.
ISO_8601 = (
    "^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]+)?)?(Z|[+-]([01][0-9]|2[0-3]):?[0-5][0-9])?$"
)
#: Whole numbers that a bigint holds.
BIGINTS = range(-(2**63), 2**63)


def is_text(kind: str) -> bool:
    """Return whether a column of a type holds any text: `text`, or what somebody has made of it.

    >>> is_text("text"), is_text("character varying(99)"), is_text("bigint")
    (True, True, False)
    """
    return kind == TEXT or kind.startswith("character varying")


def column_type(value: str) -> str:
    """Return the type of the column whose first value is this JSON text: Segment's types.

    >>> kind("5"), kind("5.0"), kind('"5"'), kind("false"), kind("[5]"), kind('"2024-01-01T00:00:00Z"')
    ('bigint', 'double precision', 'text', 'boolean', 'text', 'timestamp with time zone')
    >>> kind("9223372036854775808"), kind("1e400"), kind('"2024-01-01"')
    ('text', 'text', 'text')
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
    """Tell whether a text is a time that `timestamp` can read."""
    if not re.fullmatch(ISO_8601[1:-1], text):
        return False
    try:
        moment = datetime.fromisoformat(text)
        (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return False
    return True


#: An escape in a JSON string; group 1 is one that PostgreSQL cannot store: U+0000 or half of a surrogate pair.
_ESCAPE = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u(?:0000|[dD][89a-fA-F][0-9a-fA-F]{2}))|\\."
)


def repair(text: str) -> tuple[str, int]:
    r"""Return JSON text without the characters PostgreSQL cannot store, and their number.

    >>> repair(r'"\u0000 \\u0000 \ud83d\ude00 \ud83d"')
    ('"\\ufffd \\\\u0000 \\ud83d\\ude00 \\ufffd"', 2)
    """
    count = 0

    def replacement(match: re.Match[str]) -> str:
        nonlocal count
        count += match[1] is not None
        return "\\ufffd" if match[1] else match[0]

    return _ESCAPE.sub(replacement, text), count
