"""Run an in-memory DuckDB session, and build its SQL expressions for casts and JSON paths."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import duckdb
import pyarrow as pa

from loader.errors import UsageError
from loader.events.fields import Path, pointer
from loader.events.times import (
    ANY_FORM,
    EPOCH_SECONDS,
    MONTHS,
    PARTS,
    UTC,
    ZONES_WITHOUT_PLACE,
    TimeReading,
)
from loader.events.values import BIGINT, BOOLEAN, DOUBLE, ISO_8601, TIMESTAMPTZ, is_text
from loader.quoting import quote_literal


class MalformedError(Exception):
    """At least one line is not valid JSON."""


#: Memory of a session, without the Arrow tables that it reads and returns. A query that needs more fails.
MEMORY_LIMIT = "400MB"
#: A progress bar would be written to standard output.
_SETTINGS = "set timezone = 'UTC'; set autoload_known_extensions = false; set enable_progress_bar = false"


#: SQL for a number with a decimal comma as one with a point, without points or blanks between groups of digits.
_DECIMAL_COMMA = r"""case
    when regexp_full_match(value, '-?(\d+|\d{1,3}([. \x{A0}\x{202F}]\d{3})+),\d+')
        then replace(regexp_replace(value, '[. \x{A0}\x{202F}]', '', 'g'), ',', '.')
    else value
end"""


def _create_text_macros(has_decimal_commas: bool, mark: str | None) -> Iterator[str]:
    """Yield statements for the macros `number_text`, which has a point before the fraction, and `plain_text`."""
    yield f"create or replace temp macro number_text(value) as {_DECIMAL_COMMA if has_decimal_commas else 'value'}"
    plain = (
        f"""
        case
            when starts_with(value, '{mark}') then substr(value, {len(mark) + 1})
            else regexp_replace(value, '"{mark}([^"]*)"', '\\1', 'g')
        end
        """
        if mark
        else "value"
    )
    yield f"create or replace temp macro plain_text(value) as {plain}"


class Session:
    """An in-memory database on one thread, which leaves the other cores to PostgreSQL.

    It has the macros of `cast_sql` and `read_time_field` if it is created with a way to read times.
    """

    def __init__(self, times: TimeReading | None = None) -> None:
        self._connection = duckdb.connect(config={"threads": 1, "memory_limit": MEMORY_LIMIT, "temp_directory": ""})
        for statement in (_SETTINGS, *(_create_macros(times) if times else ())):
            self._connection.execute(statement)
        self._text_macros: tuple[bool, str | None] = False, None
        #: Whether the fields of events are read as times in all forms. It takes DuckDB longer to plan that than to read
        #: the times of a chunk, so it is left out until the first time in a form that is not usual.
        self.reads_any_form = False

    def set_text_macros(self, *, has_decimal_commas: bool, mark: str | None) -> None:
        """Set what `cast_sql` does with texts.

        With `has_decimal_commas` it takes a comma in a text of digits for the sign before a fraction. JSON strings that
        begin with `mark` are numbers whose text is stored.
        """
        if (has_decimal_commas, mark) != self._text_macros:
            for statement in _create_text_macros(has_decimal_commas, mark):
                self._connection.execute(statement)
            self._text_macros = has_decimal_commas, mark

    def register(self, name: str, table: pa.Table) -> None:
        """Make an Arrow table readable as `name`."""
        self._connection.register(name, table)

    def execute(self, statement: str) -> None:
        """Run a statement.

        Raises MalformedError for invalid JSON.
        """
        try:
            self._connection.execute(statement)
        except duckdb.InvalidInputException as exc:
            raise MalformedError(str(exc)) from exc

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query as tuples."""
        return self._connection.execute(query).fetchall()

    def stream(self, query: str) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a query as tuples. No other query may run until the last one has been read."""
        result = self._connection.execute(query)
        while rows := result.fetchmany(1000):
            yield from rows

    def exists(self, condition: str) -> bool:
        """Return whether a condition holds for any row of `envelope`."""
        ((found,),) = self.rows(f"select exists (select 1 from envelope where {condition})")
        return bool(found)

    def arrow(self, query: str) -> pa.Table:
        """Return the rows of a query as an Arrow table."""
        return self._connection.sql(query).to_arrow_table()


#: The range of times that both Python and PostgreSQL can represent.
EARLIEST, LATEST = "0001-01-01 00:00:00+00", "9999-12-31 23:59:59.999999+00"
#: From this magnitude on, not every whole number has an exact double (IEEE 754).
MAX_EXACT_INTEGER = 2**53


def _is_in_range(value: str) -> str:
    return f"{value} between timestamptz '{EARLIEST}' and timestamptz '{LATEST}'"


def in_zone(local: str, zone: str) -> str:
    """Return SQL for the moment of a time without offset; of an hour that a zone has twice, the second one."""
    if zone == UTC:
        return f"make_timestamptz(epoch_us({local}))"
    return f"timezone({quote_literal(zone)}, {local})"


def _moment(zone: str) -> str:
    """Return SQL for the moment of `p`, the parts of ANY_FORM; null if there is no such day, hour, minute or second."""
    named = f"((instr('{MONTHS}', lower(p.month)) + 2) // 3)::varchar"
    month = f"case p.month when '' then p.m1 || p.m2 else {named} end"
    second = "case p.s1 || p.s2 when '' then '00' when '60' then '59' else p.s1 || p.s2 end"
    local = f"""try_cast(p.y1 || p.y2 || p.y3 || '-' || {month} || '-' || p.d1 || p.d2 || p.d3
        || ' ' || p.h1 || p.h2 || ':' || p.i1 || p.i2 || ':' || {second} as timestamp)"""
    micros = f"epoch_us({local}) + rpad(p.f1 || p.f2, 6, '0')::bigint + if(p.s1 || p.s2 = '60', 1000000, 0)"
    digits = "rpad(replace(p.zone[2:], ':', ''), 4, '0')"
    offset = f"(({digits}[1:2])::bigint * 60 + ({digits}[3:4])::bigint) * 60000000"
    return f"""
        case
            when p.comment <> '' and p.month = '' then null
            when p.h1 || p.h2 = '24' and p.i1 || p.i2 || trim(p.s1 || p.s2 || p.f1 || p.f2, '0') <> '00' then null
            when p.zone = '' then {in_zone(f"make_timestamp({micros})", zone)}
            when p.zone like '+%' then make_timestamptz({micros} - {offset})
            when p.zone like '-%' then make_timestamptz({micros} + {offset})
            else make_timestamptz({micros})
        end
    """


#: Seconds, milliseconds or microseconds since 1970: 9 or 10 digits, 3 or 6 more, and a fraction.
_EPOCH = "[1-9][0-9]{8}([0-9]{3}){0,2}[0-9]?([.][0-9]+)?"


def _epoch(value: str) -> str:
    """Return a branch of SQL for the moment of a number since 1970, by its magnitude.

    Microseconds have 15 or 16 digits. Seconds and milliseconds get as many, and digits beyond them are cut off.
    """
    digits = f"15 + (length(split_part({value}, '.', 1)) % 3)::int"
    micros = f"try_cast(rpad(replace({value}, '.', ''), {digits}, '0') as bigint)"
    first, last = EPOCH_SECONDS.start * 10**6, EPOCH_SECONDS.stop * 10**6 - 1
    return f"""
        when regexp_full_match({value}, '{_EPOCH}') and {micros} between {first} and {last}
            then make_timestamptz({micros})
    """


def _create_macros(times: TimeReading) -> Iterator[str]:
    """Yield statements that create the macros for casts: for times, `read_time` and `read_time_field` (`TIME_FIELDS`).

    Both return null for a text that is no time. The usual forms come first, which `read_usual_time_field` reads alone.
    The comparison with the year 1 excludes the year 0, and leading blanks, which DuckDB would skip. `is_ahead` says
    whether a time is later than another one by more than the clocks may differ.
    """
    yield f"""
        create temp macro read_any_form(value) as list_filter(
            list_transform(
                [regexp_extract(value, {quote_literal(ANY_FORM)}, [{", ".join(map(quote_literal, PARTS))}])],
                lambda p: {_moment(times.zone)}
            ),
            lambda moment: {_is_in_range("moment")}
        )[1]
    """
    for name, numbers in (("", ""), ("_field", _epoch("value"))):
        yield f"create temp macro read_usual_time{name}(value) as {_usual_reading(times, numbers)}"
        yield f"""
            create temp macro read_time{name}(value) as
            coalesce(read_usual_time{name}(value), case when value is not null then read_any_form(value) end)
        """
    limit = None if times.max_skew is None else times.max_skew // timedelta(microseconds=1)
    ahead = "false" if limit is None else f"coalesce(epoch_us(moment) - epoch_us(received) > {limit}, false)"
    yield f"create temp macro is_ahead(moment, received) as {ahead}"
    yield from _create_text_macros(has_decimal_commas=False, mark=None)


def _usual_reading(times: TimeReading, epoch: str) -> str:
    """Return SQL for the moment of `value` in a usual form, else null; `epoch` is a branch for numbers."""
    # Without an offset, the cast takes a time for UTC.
    plain = ISO_8601 if times.zone == UTC else ISO_8601.replace(")?$", ")$")
    usual = f"""
        case
            when value like '____-__-__T__:__:__.___Z' and value >= '0001'
                then make_timestamptz(epoch_us(try_strptime(value, '%Y-%m-%dT%H:%M:%S.%gZ')))
            when regexp_matches(value, '{plain}') and {_is_in_range("try_cast(value as timestamptz)")}
                then try_cast(value as timestamptz)
            {epoch}
        end
    """
    if times.format is None:
        return usual
    local = f"try_strptime(value, {quote_literal(times.format)})"
    moment = "x" if times.has_offset else in_zone("x", times.zone)
    given = f"list_filter(list_transform([{local}], lambda x: {moment}), lambda x: {_is_in_range('x')})[1]"
    return f"coalesce({given}, {usual})"


def check_time_reading(times: TimeReading) -> None:
    """Raise UsageError for an unknown zone, and for a format that is invalid or does not give a whole date.

    A time that is written in the format and read again must be the same, up to parts at its end that are not written.
    """
    session = Session()
    known = session.rows(f"select 1 from pg_timezone_names() where name = {quote_literal(times.zone)}")
    if not known or not ("/" in times.zone or times.zone in ZONES_WITHOUT_PLACE):
        raise UsageError(f"time zone {times.zone!r} is unknown; give a name of the IANA database, like Europe/Paris")
    if times.format is None:
        return
    text, moment = quote_literal(times.format), "timestamptz '2027-11-23 14:35:46.789+00'"
    try:
        ((written, read),) = session.rows(
            f"""
            select strftime({moment}, {text}), epoch_us(try_strptime(strftime({moment}, {text}), {text}))
            """
        )
        cut = [session.rows(f"select epoch_us(date_trunc('{unit}', {moment}))")[0][0] for unit in _UNITS]
    except duckdb.Error as exc:
        raise UsageError(
            f"time format {times.format!r} is invalid: {str(exc).rpartition(': ')[2]}; {_FORMAT_ADVICE}"
        ) from exc
    if read not in cut:
        raise UsageError(f"time format {times.format!r} does not say which moment {written!r} is; {_FORMAT_ADVICE}")


_FORMAT_ADVICE = "write one like '%d/%m/%Y %H:%M'"
#: What a format may leave out at the end of a time.
_UNITS = ("microsecond", "millisecond", "second", "minute", "hour", "day")


def _digits(number: str) -> str:
    """Return SQL for the digits of a number without zeros at both ends: `is_exact` in `loader.events.values`."""
    return f"trim(replace(replace(split_part(lower({number}), 'e', 1), '.', ''), '-', ''), '0')"


def cast_sql(value: str, kind: str) -> str:
    """Return SQL that casts text to a column type, null if the value does not fit without loss."""
    if is_text(kind):
        return f"plain_text({value})"
    if kind == TIMESTAMPTZ:
        return f"read_time({value})"
    if kind == BOOLEAN:
        return f"case lower({value}) when 'true' then true when 'false' then false end"
    value = f"number_text({value})"
    if kind == BIGINT:
        return rf"case when regexp_full_match({value}, '-?(0|[1-9]\d*)(\.0+)?') then try_cast({value} as bigint) end"
    if kind == DOUBLE:
        number = f"try_cast({value} as double)"
        whole = rf"regexp_full_match({value}, '-?\d+')"
        digits = [_digits(value), _digits(f"{number}::varchar"), _digits(f"format('{{:.16e}}', {number})")]
        return (
            rf"case when regexp_full_match({value}, '-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?') and isfinite({number}) "
            f"and (not {whole} or abs({number}) < {MAX_EXACT_INTEGER}) "
            f"and ({number} <> 0 and strlen({value}) <= 16 or {digits[0]} in ({digits[1]}, {digits[2]})) "
            f"then {number} end"
        )
    return "null"


def objects_only(path: Path) -> str:
    """Return a SQL condition that a path leads through objects only, empty if it always does.

    In a JSON pointer, a key of digits is an index where it meets an array (RFC 6901).

    >>> objects_only(("properties", "list", "0"))
    "json_type(line, '/properties/list') = 'OBJECT'"
    """
    doubtful = [path[:i] for i, key in enumerate(path) if key.isdigit()]
    return " and ".join(f"json_type(line, {quote_literal(pointer(above))}) = 'OBJECT'" for above in doubtful)
