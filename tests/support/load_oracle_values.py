"""Parse JSON with the original spelling of numbers, and convert values to column types, for the load oracle."""

import json
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
TIME = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[T ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]+))?)?"
    r"(?:(Z)|([+-])([0-9]{2}):?([0-9]{2}))?"
)


class Pairs(list[tuple[str, Any]]):
    """A JSON object as ordered pairs, with repeated names."""


class Broken(str):
    """A line that is not valid JSON."""


class Number(str):
    """A number in its original spelling."""


def parse(text: str) -> Any:
    """Parse JSON to `Pairs` and `Number`. NaN and Infinity are accepted, as by DuckDB.

    Raises ValueError for invalid JSON.
    """
    return json.loads(text, object_pairs_hook=Pairs, parse_int=Number, parse_float=Number, parse_constant=Number)


def repaired(value: Any) -> tuple[Any, int]:
    """Replace characters that PostgreSQL cannot store by U+FFFD; return the value and their number."""
    if isinstance(value, Number) or value is None or isinstance(value, bool):
        return value, 0
    if isinstance(value, str):
        return re.subn("[\0\ud800-\udfff]", "\ufffd", value)
    parts = [repaired(part) for part in value]
    kind: Any = type(value)
    return kind(part for part, _ in parts), sum(count for _, count in parts)


def canonical(value: Any) -> Any:
    """Return a hashable form of a value, with numbers as returned by `exact`."""
    if isinstance(value, Pairs):
        return ("object", tuple((key, canonical(inside)) for key, inside in value))
    if isinstance(value, list):
        return ("array", tuple(canonical(inside) for inside in value))
    if isinstance(value, Number):
        return ("number", exact(value))
    return (type(value).__name__, value)


def exact(number: str) -> tuple[str, Any]:
    """Return a number for comparison: integers exact, fractions as double precision."""
    if re.fullmatch("-?[0-9]+", number):
        return "whole", Decimal(number)
    return ("fraction", float(number)) if NUMBER.fullmatch(number) else ("text", number)


def text_of(value: Any) -> str | None:
    """Return a scalar as text, None for null; arrays and objects as a text that is neither a time nor a number."""
    if value is None or isinstance(value, Pairs | list):
        return None if value is None else json.dumps(value)
    if isinstance(value, Number) and exact(value)[0] == "fraction":
        return repr(float(value))
    return json.dumps(value) if isinstance(value, bool) else str(value)


def microseconds(value: Any) -> int | None:
    """Return an ISO 8601 time in microseconds since 1970, None if it is invalid or outside the years 1 to 9999.

    Without an offset it is UTC; digits beyond microseconds are cut off.
    """
    found = TIME.fullmatch(value) if isinstance(value, str) else None
    if not found:
        return None
    year, month, day, hour, minute, second, fraction, _, sign, hours, minutes = found.groups()
    if int(hours or 0) > 23 or int(minutes or 0) > 59:
        return None
    ahead = timedelta(hours=int(hours or 0), minutes=int(minutes or 0)) * (-1 if sign == "-" else 1)
    try:
        moment = datetime(int(year), int(month), int(day), int(hour), int(minute), int(second or 0), tzinfo=UTC) - ahead
    except (ValueError, OverflowError):
        return None
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return since // timedelta(microseconds=1) + int(f"{fraction or '0':0<6}"[:6])


def kind_of(value: Any) -> str:
    """Return the type of a column whose first value is this one."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, Number):
        if re.fullmatch("-?[0-9]+", value):
            return "bigint" if -(2**63) <= Decimal(value) < 2**63 else "text"
        return "double precision" if NUMBER.fullmatch(value) and abs(float(value)) != float("inf") else "text"
    return "text" if microseconds(value) is None else "timestamp with time zone"


def converted(value: Any, kind: str) -> Any:
    """Return a value as stored in a column of this type, None if it does not fit without loss."""
    text = text_of(value)
    if kind == "text":
        return text if isinstance(value, bool) else value
    if kind == "timestamp with time zone":
        return microseconds(value)
    if kind == "boolean":
        return {"true": True, "false": False}.get(text or "")
    if text is None or isinstance(value, list) or not NUMBER.fullmatch(text):
        return None
    return _integer(text) if kind == "bigint" else _double(text)


def _integer(text: str) -> int | None:
    """Return the integer of a number without exponent and with a zero fraction, such as `5` or `5.0`, else None."""
    if not re.fullmatch(r"-?[0-9]+(\.0+)?", text):
        return None
    number = int(text.partition(".")[0]) if len(text) < 100 else 2**63
    return number if -(2**63) <= number < 2**63 else None


def _double(text: str) -> float | None:
    """Return a finite number as double, else None; integers only below 2**53, where doubles are exact."""
    number = float(text)
    is_lost = re.fullmatch("-?[0-9]+", text) and abs(number) >= 2**53
    return None if is_lost or abs(number) == float("inf") else number


def is_stored(actual: Any, expected: Any) -> bool:
    """Return whether a stored value is equal to `converted`; numbers and JSON in text may be spelled differently."""
    if isinstance(expected, Number) and isinstance(actual, str):
        return exact(actual) == exact(expected)
    if isinstance(expected, list) and isinstance(actual, str):
        return bool(canonical(parse(actual)) == canonical(expected))
    return type(actual) is type(expected) and bool(actual == expected)
