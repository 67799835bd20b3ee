"""Values: the text of a JSON value → a column's type, as DuckDB SQL; what does not fit without loss is null."""

TEXT, BIGINT, DOUBLE, BOOLEAN = "text", "bigint", "double precision", "boolean"
TIMESTAMPTZ = "timestamp with time zone"

#: A full ISO 8601 date and time; without an offset it is UTC.
ISO_8601 = r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]([01]\d|2[0-3]):?[0-5]\d)?$"
#: From here on not every whole number is a double.
EXACT = 2**53


def quote(text: str) -> str:
    """Return text as an SQL literal.

    >>> quote("o'clock")
    "'o''clock'"
    """
    return "'" + text.replace("'", "''") + "'"


def timestamp(value: str) -> str:
    """Return SQL for a time stamp, null unless the value is a full ISO 8601 date and time."""
    return f"case when regexp_matches({value}, '{ISO_8601}') then try_cast({value} as timestamptz) end"


def cast(value: str, kind: str) -> str:
    """Return SQL for a value in a column of a type, null if it does not fit without loss."""
    if kind == TEXT or kind.startswith("character varying"):
        return value
    if kind == TIMESTAMPTZ:
        return timestamp(value)
    if kind == BOOLEAN:
        return f"case {value} when 'true' then true when 'false' then false end"
    if kind == BIGINT:
        return rf"case when regexp_full_match({value}, '-?\d+(\.0+)?') then try_cast({value} as bigint) end"
    if kind == DOUBLE:
        number = f"try_cast({value} as double)"
        whole = rf"regexp_full_match({value}, '-?\d+')"
        return (
            rf"case when regexp_full_match({value}, '-?\d+(\.\d+)?([eE][+-]?\d+)?') and isfinite({number}) "
            f"and (not {whole} or abs({number}) < {EXACT}) then {number} end"
        )
    return "null"
