"""Read the time of a single event in Python. `loader.duckdb` reads the same forms for all events of a load."""

import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from loader.events.times import ANY_FORM, EPOCH_SECONDS, MONTHS

_FORM = re.compile(ANY_FORM, re.ASCII)
_NUMBER = re.compile("[1-9][0-9]{8,15}([.][0-9]+)?")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def read_moment(text: str) -> datetime | None:
    """Return the time in a field of an event in UTC, in the forms of `loader.events.times`; None for another text.

    >>> [str(read_moment(text)) for text in ("2025-01-01T24:00", "1735689600000", "2025-01-01")]
    ['2025-01-02 00:00:00+00:00', '2025-01-01 00:00:00+00:00', 'None']
    """
    if len(text) == 24 and text[10] == "T" and text[23] == "Z" and text[5].isdecimal():  # nearly all times
        with suppress(ValueError):
            return datetime.fromisoformat(text)
    if _NUMBER.fullmatch(text):
        return _read_number(Decimal(text))
    found = _FORM.fullmatch(text)
    if found is None or (found["comment"] and not found["d3"]):
        return None
    try:
        return _read_parts(found)
    except (ValueError, OverflowError):  # no such day, or beyond the calendar
        return None


def _read_number(number: Decimal) -> datetime | None:
    for unit in (1, 1_000, 1_000_000):
        if EPOCH_SECONDS.start <= number / unit < EPOCH_SECONDS.stop:
            return _EPOCH + timedelta(microseconds=int(number * (1_000_000 // unit)))
    return None


def _read_parts(found: re.Match[str]) -> datetime | None:
    month = found["m1"] or found["m2"] or MONTHS.index(found["month"].lower()) // 3 + 1
    day = datetime(_number(found, "y"), int(month), _number(found, "d"), tzinfo=UTC)
    hour, minute, second = _number(found, "h"), _number(found, "i"), _number(found, "s")
    microsecond = int(((found["f1"] or found["f2"] or "") + "000000")[:6])
    is_end_of_day = hour == 24 and not (minute or second or microsecond)
    if not (hour < 24 or is_end_of_day) or minute > 59 or second > 60:
        return None
    clock = timedelta(hours=hour, minutes=minute, seconds=second, microseconds=microsecond)
    return day + (clock - _read_offset(found["zone"] or ""))


def _number(found: re.Match[str], name: str) -> int:
    """Return a part that has a group of its own in each form; 0 if it is missing."""
    groups = found.groupdict()
    return int(next((value for n in "123" if (value := groups.get(name + n))), "0"))


def _read_offset(zone: str) -> timedelta:
    if zone[:1] not in {"+", "-"}:
        return timedelta()
    digits = zone[1:].replace(":", "").ljust(4, "0")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return -offset if zone[0] == "-" else offset
