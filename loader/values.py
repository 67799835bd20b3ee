"""Values: which type a column gets, and the text of a JSON value → that type, as DuckDB SQL; a misfit is null."""

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
#: The times that Python and PostgreSQL both have.
FIRST, LAST = "0001-01-01 00:00:00+00", "9999-12-31 23:59:59.999999+00"
#: From here on not every whole number is a double.
EXACT = 2**53
#: Whole numbers that a bigint holds.
BIGINTS = range(-(2**63), 2**63)


def kind(value: str) -> str:
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


def quote(text: str) -> str:
    """Return text as an SQL literal.

    >>> quote("o'clock")
    "'o''clock'"
    """
    return "'" + text.replace("'", "''") + "'"


def timestamp(value: str) -> str:
    """Return SQL for a time stamp, null unless the value is a full ISO 8601 date and time.

    The spelling that nearly all senders have is read at half the cost. The comparison keeps out the year 0, and
    blanks, which DuckDB skips.
    """
    return f"""
        case
            when {value} like '____-__-__T__:__:__.___Z' and {value} >= '0001'
                then make_timestamptz(epoch_us(try_strptime({value}, '%Y-%m-%dT%H:%M:%S.%gZ')))
            when regexp_matches({value}, '{ISO_8601}')
                and try_cast({value} as timestamptz) between timestamptz '{FIRST}' and timestamptz '{LAST}'
                then try_cast({value} as timestamptz)
        end
    """


def cast(value: str, kind: str) -> str:
    """Return SQL for a value in a column of a type, null if it does not fit without loss."""
    if kind == TEXT or kind.startswith("character varying"):
        return value
    if kind == TIMESTAMPTZ:
        return timestamp(value)
    if kind == BOOLEAN:
        return f"case {value} when 'true' then true when 'false' then false end"
    if kind == BIGINT:
        return rf"case when regexp_full_match({value}, '-?(0|[1-9]\d*)(\.0+)?') then try_cast({value} as bigint) end"
    if kind == DOUBLE:
        number = f"try_cast({value} as double)"
        whole = rf"regexp_full_match({value}, '-?\d+')"
        return (
            rf"case when regexp_full_match({value}, '-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?') and isfinite({number}) "
            f"and (not {whole} or abs({number}) < {EXACT}) then {number} end"
        )
    return "null"
