"""?"""


def quote_identifier(identifier: str) -> str:
    """Return an identifier as SQL text.

    >>> print(quoted('a "b" c'))
    "a ""b"" c"
    """
    return '"' + identifier.replace('"', '""') + '"'


def quote_literal(text: str) -> str:
    """Return text as an SQL literal.

    >>> quote("o'clock")
    "'o''clock'"
    """
    return "'" + text.replace("'", "''") + "'"
