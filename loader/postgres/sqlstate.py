"""Translate errors of the driver into LoaderErrors, by their SQLSTATE."""

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

#: Errors by the beginning of the SQLSTATE; the first match counts. Any other state is a WarehouseError.
ERRORS_BY_SQLSTATE: Mapping[type[LoaderError], tuple[str, ...]] = {
    # Unique violation, serialization failure, deadlock, lock timeout.
    ContentionError: ("23505", "40001", "40P01", "55P03"),
    # The limit on a row's size.
    OverfullError: ("54000",),
    # Data exception, program limit exceeded.
    RefusedError: ("22", "54"),
    # Undefined table, undefined column, undefined schema, dependent objects exist.
    SchemaError: ("42P01", "42703", "3F000", "2BP01"),
    # Connection exception, shutdown, crash, recovery, idle session timeout, too many connections.
    DisconnectedError: ("08", "57P01", "57P02", "57P03", "57P05", "53300"),
    # Insufficient resources, operator intervention, system error, internal error.
    OutageError: ("53", "57", "58", "XX"),
}
#: Messages of login failures that a retry would not resolve.
PERMANENT_LOGIN_ERRORS = re.compile(
    "password|authentication|pg_hba|does not exist|not permitted|certificate|not support SSL"
)
#: The coordinator of a Citus cluster reports what went wrong in a COPY on a worker, and workers that are lost, as
#: internal or input errors. What they are by the beginning of the message, in English.
ERRORS_OF_WORKERS: Mapping[type[LoaderError], str] = {
    ContentionError: "duplicate key value|deadlock detected|canceling statement due to lock timeout",
    OverfullError: "row is too big|index row (size|requires)",
    DisconnectedError: (
        "terminating connection|the database system is|failed to (prepare transaction|COPY to shard|complete COPY)"
        "|failure on connection marked as essential"
        "|could not (connect to any active placements|establish any connections|find an available connection)"
        "|server closed the connection|connection not open|no connection to the server"
        "|could not (receive data from|send data to) server"
    ),
}
#: What libpq adds around the actual message.
LIBPQ = re.compile("^(connection failed|consuming input failed): | (Is the server running|This probably means) .*")
#: What to do about an error, by SQLSTATE.
ADVICE = {
    **dict.fromkeys(("42P01", "42703", "3F000"), "run `selligent-loader init`"),
    "42501": "ask the database's owner for the privilege, or use another role",
    "53100": "free space on the server's disk; the next load continues where this one ended",
    "53300": "wait for other sessions to end, or raise the server's max_connections",
    "57014": "run it again, a load continues where this one ended",
    "25006": "the server is read-only, perhaps a standby; name the primary in the database url",
}


@contextmanager
def translate_errors() -> Iterator[None]:
    """Raise LoaderErrors instead of the driver's errors."""
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
        text = f"the database cannot be reached: {message}; check that it is running, and the database url"
        return WarehouseError(text) if PERMANENT_LOGIN_ERRORS.search(message) else DisconnectedError(text)
    if state == "2BP01":
        detail = " ".join((exc.diag.message_detail or "").split())
        message += f": {detail}; drop these, run `selligent-loader migrate`, and create them again"
    if state in ADVICE:
        message += f"; {ADVICE[state]}"
    if state in {"XX000", "58030"}:
        for kind, beginning in ERRORS_OF_WORKERS.items():
            if re.match(beginning, message):
                return kind(message)
    kinds = (kind for kind, states in ERRORS_BY_SQLSTATE.items() if state.startswith(states))
    return next(kinds, WarehouseError)(message)


def _message(exc: psycopg.Error) -> str:
    text = " ".join((exc.diag.message_primary or str(exc)).split())
    return LIBPQ.sub("", text)
