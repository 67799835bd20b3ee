"""?"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import psycopg
from sqlalchemy.exc import DBAPIError

from loader.errors import (
    ContentionError,
    DisconnectedError,
    LoaderError,
    OutageError,
    OverfullError,
    RefusedError,
    SchemaError,
    WarehouseError,
)

#: What the beginnings of SQLSTATEs mean to us, the first that fits; all others are no more than a WarehouseError.
ERRORS_BY_SQLSTATE: Mapping[type[LoaderError], tuple[str, ...]] = {
    # Unique violation, serialization failure, deadlock, lock timeout.
    ContentionError: ("23505", "40001", "40P01", "55P03"),
    # The limit on a row's size.
    OverfullError: ("54000",),
    # Data exception, program limit exceeded.
    RefusedError: ("22", "54"),
    # Something the migrations make is not there, or others depend on it: table, column, schema, dependent objects.
    SchemaError: ("42P01", "42703", "3F000", "2BP01"),
    # Connection exception, shutdown, crash, recovery, idle session timeout, too many connections.
    DisconnectedError: ("08", "57P01", "57P02", "57P03", "57P05", "53300"),
    # Insufficient resources, operator intervention, system error, internal error.
    OutageError: ("53", "57", "58", "XX"),
}
#: What a server says to whom it will not let in later either.
PERMANENT_LOGIN_ERRORS = re.compile(
    "password|authentication|pg_hba|does not exist|not permitted|certificate|not support SSL"
)
#: What libpq says around what happened.
LIBPQ = re.compile("^(connection failed|consuming input failed): | (Is the server running|This probably means) .*")
#: What to do about an error.
ADVICE = {
    **dict.fromkeys(("42P01", "42703", "3F000"), "run `selligent-loader init`"),
    "42501": "ask the database's owner to grant it, or use another role",
    "53100": "make room on the server's disk; the next load continues where this one ended",
    "53300": "wait for others to end, or raise the server's max_connections",
    "57014": "somebody or a timeout of the server cancelled it; the next load continues where this one ended",
    "25006": "the server is read-only, a standby perhaps; name the primary in the database url",
}


@contextmanager
def translate_errors() -> Iterator[None]:
    """Turn the driver's errors into ours."""
    try:
        yield
    except psycopg.Error as exc:
        raise _translate(exc) from exc
    except DBAPIError as exc:
        if not isinstance(exc.orig, psycopg.Error):
            raise
        raise _translate(exc.orig) from exc


def _translate(exc: psycopg.Error) -> LoaderError:
    state, message = exc.sqlstate or "", _message(exc)
    if not state:
        told = f"the database cannot be reached: {message}; check that it runs and the database url"
        return WarehouseError(told) if PERMANENT_LOGIN_ERRORS.search(message) else DisconnectedError(told)
    if state == "2BP01":
        detail = " ".join((exc.diag.message_detail or "").split())
        message += f": {detail}; drop these, migrate, and make them anew"
    if state in ADVICE:
        message += f"; {ADVICE[state]}"
    kinds = (kind for kind, states in ERRORS_BY_SQLSTATE.items() if state.startswith(states))
    return next(kinds, WarehouseError)(message)


def _message(exc: psycopg.Error) -> str:
    text = " ".join((exc.diag.message_primary or str(exc)).split())
    return LIBPQ.sub("", text)
