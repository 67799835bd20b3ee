"""Parse JSON with the original spelling of numbers, and convert values to column types, for the load oracle."""

import json
import math
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
ISO_8601 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d+))?)?( ?\S+)?"
    r"|(\d{4})(\d\d)(\d\d)[Tt ](\d\d):?(\d\d)(?::?(\d\d)(?:[.,](\d+))?)?( ?\S+)?"
    r"|(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d)(\d\d)(?:(\d\d)(?:[.,](\d+))?)?( ?\S+)?",
    re.ASCII,
)
OFFSET = re.compile(r"([+-])([01]\d|2[0-3])(?::?([0-5]\d))?", re.ASCII)
RFC_2822 = re.compile(
    r"(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), *)?\d\d? +[a-z]{3} +\d{4} +\d\d:?\d\d.*", re.ASCII | re.IGNORECASE
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
    if NUMBER.fullmatch(number) and not is_exact(number):
        return "long", re.sub("e.*", "", number.lower())
    return ("fraction", float(number)) if NUMBER.fullmatch(number) else ("text", number)


def is_exact(number: str) -> bool:
    """Return whether a double has the digits of a number, written as short as possible or with 17 digits."""
    try:
        double, number_itself = float(number), Decimal(number)
        return double in (math.inf, -math.inf) or number_itself in (Decimal(repr(double)), Decimal(f"{double:.16e}"))
    except InvalidOperation:
        return False


def text_of(value: Any) -> str | None:
    """Return a scalar as text, None for null; arrays and objects as a text that is neither a time nor a number."""
    if value is None or isinstance(value, Pairs | list):
        return None if value is None else json.dumps(value)
    if isinstance(value, Number) and exact(value)[0] == "fraction" and is_exact(value):
        return repr(float(value))
    return json.dumps(value) if isinstance(value, bool) else str(value)


def is_common_time(value: Any) -> bool:
    """Return whether a value is a time in the form that gives a column the type of a time."""
    form = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]([01]\d|2[0-3]):?[0-5]\d)?"
    is_strict = isinstance(value, str) and re.fullmatch(form, value, re.ASCII) is not None
    return is_strict and value[11:13] != "24" and value[17:19] != "60" and microseconds(value) is not None


def moment(value: Any) -> int | None:
    """Return the time in a field of an event in microseconds since 1970: as `microseconds`, or a number."""
    text = text_of(value) or ""
    if re.fullmatch("[1-9][0-9]{8,15}([.][0-9]+)?", text):
        number = Decimal(text)
        for unit in (1, 10**3, 10**6):
            if datetime(2001, 1, 1, tzinfo=UTC).timestamp() <= number / unit < 4133980800:
                return int(number * (10**6 // unit))
    return microseconds(value)


def microseconds(value: Any) -> int | None:
    """Return a time in microseconds since 1970, None if it is invalid or outside the years 1 to 9999.

    Without an offset it is UTC; digits beyond microseconds are cut off.
    """
    if not isinstance(value, str):
        return None
    if RFC_2822.fullmatch(value):
        return _mail_time(value)
    found = ISO_8601.fullmatch(value)
    if not found:
        return None
    parts = found.groups()
    year, month, day, hour, minute, second, fraction, zone = next(parts[i : i + 8] for i in (0, 8, 16) if parts[i])
    ahead = _ahead((zone or "").removeprefix(" "))
    return None if ahead is None else _since_1970((year, month, day, hour, minute, second or "0"), fraction, ahead)


def _mail_time(value: str) -> int | None:
    date, time, zone = re.fullmatch(r"(?is)(.*?\d{4}) +([\d:.,]+)(.*)", value).groups()  # type: ignore[union-attr]
    found = re.fullmatch(r"(\d\d):(\d\d)(?::(\d\d)(?:[.,](\d+))?)?|(\d\d)(\d\d)(?:(\d\d)(?:[.,](\d+))?)?", time)
    ahead = _ahead(re.sub(r" *\([^()]*\)$", "", zone).removeprefix(" "))
    try:
        day = datetime.strptime(date.rpartition(",")[2].strip(), "%d %b %Y")
    except ValueError:
        return None
    if not found or ahead is None:
        return None
    hour, minute, second, fraction = found.groups()[:4] if found[1] else found.groups()[4:]
    return _since_1970((str(day.year), str(day.month), str(day.day), hour, minute, second or "0"), fraction, ahead)


def _ahead(zone: str) -> timedelta | None:
    if zone.lower() in ("", "z", "utc", "gmt", "ut"):
        return timedelta()
    if not (found := OFFSET.fullmatch(zone)):
        return None
    return timedelta(hours=int(found[2]), minutes=int(found[3] or 0)) * (-1 if found[1] == "-" else 1)


def _since_1970(parts: tuple[str, ...], fraction: str | None, ahead: timedelta) -> int | None:
    year, month, day, hour, minute, second = map(int, parts)
    more = timedelta()
    if hour == 24 and not minute and not second and not int(fraction or 0):
        hour, more = 0, timedelta(days=1)
    if second == 60:
        second, more = 59, timedelta(seconds=1)
    try:
        found = datetime(year, month, day, hour, minute, second, tzinfo=UTC) + more - ahead
    except (ValueError, OverflowError):
        return None
    since = found - datetime(1970, 1, 1, tzinfo=UTC)
    return since // timedelta(microseconds=1) + int(f"{fraction or '0':0<6}"[:6])


def kind_of(value: Any) -> str:
    """Return the type of a column whose first value is this one."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, Number):
        if re.fullmatch("-?[0-9]+", value):
            return "bigint" if -(2**63) <= Decimal(value) < 2**63 else "text"
        return "double precision" if NUMBER.fullmatch(value) and abs(float(value)) != float("inf") else "text"
    return "timestamp with time zone" if is_common_time(value) else "text"


def converted(value: Any, kind: str) -> Any:
    """Return a value as stored in a column of this type, None if it does not fit without loss."""
    text = text_of(value)
    if kind == "text":
        return text if isinstance(value, bool) else value
    if kind == "timestamp with time zone":
        return microseconds(value)
    if kind == "boolean":
        return {"true": True, "false": False}.get((text or "").lower())
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
    return None if is_lost or not is_exact(text) or abs(number) == float("inf") else number


def is_stored(actual: Any, expected: Any) -> bool:
    """Return whether a stored value is equal to `converted`; numbers and JSON in text may be spelled differently."""
    if isinstance(expected, Number) and isinstance(actual, str):
        return exact(actual) == exact(expected)
    if isinstance(expected, list) and isinstance(actual, str):
        return bool(canonical(parse(actual)) == canonical(expected))
    return type(actual) is type(expected) and bool(actual == expected)
