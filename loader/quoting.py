"""Quote identifiers and literals for SQL, alike for PostgreSQL and DuckDB."""


def quote_identifier(identifier: str) -> str:
    """Return a quoted identifier.

    >>> print(quote_identifier('a "b" c'))
    "a ""b"" c"
    """
    return '"' + identifier.replace('"', '""') + '"'


def quote_literal(text: str) -> str:
    """Return a text as a string literal.

    >>> quote_literal("o'clock")
    "'o''clock'"
    """
    return "'" + text.replace("'", "''") + "'"
