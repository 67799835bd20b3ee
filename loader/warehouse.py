"""The only module that knows the driver: connect, ask, copy, commit; its errors become ours."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from loader.errors import (
    ContentionError,
    LoaderError,
    OverfullError,
    RefusedError,
    SchemaError,
    UsageError,
    WarehouseError,
)
from loader.names import ops_schema, quoted

#: Lost against another transaction: unique violation, serialization failure, deadlock, lock timeout.
CONTENTION = {"23505", "40001", "40P01", "55P03"}
#: Something the migrations make is not there: undefined table, column, schema.
UNPREPARED = {"42P01", "42703", "3F000"}
#: Classes of errors about a value or row: data exception, program limit exceeded; and the limit on a row's size.
REFUSED = ("22", "54")
OVERFULL = "54000"


def connect(database_url: str | None, *, autocommit: bool = True) -> psycopg.Connection[Any]:
    """Open a connection; without a URL, to the embedded server, started if need be.

    Raises UsageError for a URL that cannot be read, WarehouseError for a server that cannot be reached.
    """
    if database_url is None:
        from loader import embedded

        database_url = embedded.start(embedded.home()).url
    with translated():
        return psycopg.connect(
            _conninfo(database_url),
            autocommit=autocommit,
            prepare_threshold=None,  # each statement runs once a chunk: planning it costs nothing
            fallback_application_name="selligent-loader",
        )


def engine(database_url: str | None) -> Engine:
    """Return the database for SQLAlchemy, which Alembic works with."""
    return create_engine(
        "postgresql+psycopg://", creator=lambda: connect(database_url, autocommit=False), poolclass=NullPool
    )


def run_script(connection: Connection, script: str) -> None:
    """Run a script of statements as it is, in the transaction of an SQLAlchemy connection."""
    driver: Any = connection.connection.driver_connection
    driver.execute(script)


def try_script(connection: Connection, script: str) -> bool:
    """Run a script; leave everything as it was and return False if it would change the columns of a view."""
    savepoint = connection.begin_nested()
    try:
        run_script(connection, script)
    except psycopg.errors.InvalidTableDefinition:
        savepoint.rollback()
        return False
    savepoint.commit()
    return True


def _conninfo(database_url: str) -> str:
    conninfo = database_url.replace("postgresql+psycopg://", "postgresql://", 1)
    try:
        host = conninfo_to_dict(conninfo).get("host") or ""
    except psycopg.ProgrammingError:
        host = "@"
    if "@" in str(host):  # a password with an @ in it; the driver's own message would show part of it
        raise UsageError(
            "the database url cannot be read; write postgresql://user:password@host:port/database, "
            "with special characters in the password percent-encoded"
        ) from None
    return conninfo


@contextmanager
def translated() -> Iterator[None]:
    """Turn the driver's errors into ours."""
    try:
        yield
    except psycopg.Error as exc:
        raise _error(exc) from exc
    except DBAPIError as exc:
        if not isinstance(exc.orig, psycopg.Error):
            raise
        raise _error(exc.orig) from exc


def _error(exc: psycopg.Error) -> LoaderError:
    state, message = exc.sqlstate or "", _message(exc)
    if state in CONTENTION:
        return ContentionError(message)
    if state == OVERFULL:
        return OverfullError(message)
    if state.startswith(REFUSED):
        return RefusedError(message)
    if state in UNPREPARED:
        return SchemaError(f"{message}; run `selligent-loader init`")
    if state == "2BP01":
        told = " ".join((exc.diag.message_detail or "").split())
        return SchemaError(f"{message}: {told}; drop these, migrate, and make them anew")
    if state == "42501":
        message += "; ask the database's owner to grant it, or use another role"
    elif not state:
        message = f"the database cannot be reached: {message}; check that it runs and the database url"
    return WarehouseError(message)


def _message(exc: psycopg.Error) -> str:
    text = exc.diag.message_primary or str(exc)
    return " ".join(text.split()).removeprefix("connection failed: ")


class Warehouse:
    """A connection to one source's schemas; every statement runs in a transaction of ours."""

    def __init__(self, database_url: str | None, schema: str) -> None:
        self.schema = schema
        self.ops = ops_schema(schema)
        self._connection = connect(database_url)

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def transaction(self, lock_timeout: str = "10min", *, trial: bool = False) -> Iterator[None]:
        """Run the body in one transaction, in which unqualified names are those of the ops schema.

        A trial is rolled back. Raises our errors for the driver's.
        """
        with translated(), self._connection.transaction(force_rollback=trial):
            self._connection.execute(
                f"set local search_path to {quoted(self.ops)}, pg_catalog; set local lock_timeout to '{lock_timeout}';"
                # Keys are looked up by index, whatever the statistics of a table that is being filled say.
                "set local enable_hashjoin to off; set local enable_mergejoin to off"
            )
            yield

    def fetch(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run a statement and return its rows."""
        with translated():
            cursor = self._connection.execute(statement, parameters or None, binary=True)
            return cursor.fetchall() if cursor.description else []

    def run(self, script: str) -> None:
        """Run statements that return nothing."""
        with translated():
            self._connection.execute(script.encode())

    def copy(self, schema: str, table: str, columns: Sequence[str], pieces: Iterable[bytes]) -> None:
        """Copy rows in PostgreSQL's binary format."""
        names = ", ".join(map(quoted, columns))
        statement = f"copy {quoted(schema)}.{quoted(table)} ({names}) from stdin (format binary)"
        with translated(), self._connection.cursor().copy(statement) as copy:
            for piece in pieces:
                copy.write(piece)
