"""The only module that knows the driver: connect, ask, copy, commit; its errors become ours."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import timedelta
from functools import cache
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.pool import NullPool

from loader.config import Settings, data_root, home
from loader.errors import TakenError, UsageError
from loader.postgres import embedded
from loader.postgres.retry import Result, retry
from loader.postgres.sqlstate import translate_errors
from loader.quoting import quote_identifier

#: How a lost connection is noticed, where the url does not say otherwise: libpq's parameters, in seconds and ms.
KEEPALIVES = {
    "connect_timeout": "10",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
}


def connect(database_url: str | None, purpose: str = "", *, autocommit: bool = True) -> psycopg.Connection[Any]:
    """Open a connection; without a URL, to the embedded server, started if need be.

    The server's administrator sees its purpose. Raises UsageError for a URL that cannot be read, WarehouseError for a
    server that cannot be reached.
    """
    if database_url is None:
        database_url = embedded.start(home()).url
    with translate_errors():
        return psycopg.connect(
            _conninfo(database_url),
            autocommit=autocommit,
            prepare_threshold=None,  # each statement runs once a chunk: planning it costs nothing
            fallback_application_name=f"selligent-loader {purpose}".strip(),
        )


@cache
def operation(name: str) -> str:
    """Return the statement in `sql/operations/<name>.sql`."""
    return (data_root() / "sql" / "operations" / f"{name}.sql").read_text("utf-8")


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
        parameters = conninfo_to_dict(conninfo)
    except psycopg.ProgrammingError:
        parameters = {"host": "@"}
    if "@" in str(
        parameters.get("host", "")
    ):  # a password with an @ in it; the driver's own message would show part of it
        raise UsageError(
            "the database url cannot be read; write postgresql://user:password@host:port/database, "
            "with special characters in the password percent-encoded"
        ) from None
    return make_conninfo("", **{**KEEPALIVES, **parameters})


class Warehouse:
    """A connection to one source's schemas; every statement runs in a transaction of ours.

    Where it insists on something, a connection that was lost is made anew, with the locks that it held.
    """

    def __init__(self, settings: Settings, purpose: str = "") -> None:
        self.schema, self.ops = settings.schema, settings.ops
        self._place = settings.database_url, purpose
        self._retry_for = settings.retry_for
        #: Locks that are held, and how each is taken.
        self._locks: dict[tuple[int, str], str] = {}
        self._connect()

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def transaction(
        self, lock_timeout: str = "10min", statement_timeout: str = "30min", *, trial: bool = False
    ) -> Iterator[None]:
        """Run the body in one transaction, in which unqualified names are those of the ops schema.

        A trial is rolled back. Raises our errors for the driver's.
        """
        with translate_errors(), self._connection.transaction(force_rollback=trial):
            self._connection.execute(
                f"set local search_path to {quote_identifier(self.ops)}, pg_catalog;"
                f"set local lock_timeout to '{lock_timeout}';"
                f"set local statement_timeout to '{statement_timeout}';"
                "set local idle_in_transaction_session_timeout to '10min';"
                # Keys are looked up by index, whatever the statistics of a table that is being filled say.
                "set local enable_hashjoin to off; set local enable_mergejoin to off"
            )
            yield

    def retry(self, work: Callable[[], Result], span: timedelta | None = None) -> Result:
        """Do work in transactions of its own, again while the connection is lost, for as long as we retry."""

        def attempt() -> Result:
            if self._connection.closed:
                self._reconnect()
            return work()

        return retry(attempt, self._retry_for if span is None else span)

    def try_lock(self, lock: int, name: str) -> bool:
        """Take a lock until `release`, unless somebody else has it.

        If it is somebody else's after a reconnection, that raises TakenError.
        """
        return self._lock(lock, name, "pg_try_advisory_lock")

    def lock_shared(self, lock: int, name: str) -> None:
        """Take a lock together with others until this connection is closed."""
        self._lock(lock, name, "pg_advisory_lock_shared")

    def lock_in_transaction(self, lock: int) -> None:
        """Take a lock of this source until the transaction ends."""
        self.fetch("select pg_advisory_xact_lock(%s, hashtext(%s))", lock, self.ops)

    def unlock(self, lock: int, name: str) -> None:
        """Give a lock back."""
        self._locks.pop((lock, name), None)
        self.fetch("select pg_advisory_unlock(%s, hashtext(%s))", lock, name)

    def _lock(self, lock: int, name: str, function: str) -> bool:
        ((taken,),) = self.fetch(f"select {function}(%s, hashtext(%s))", lock, name)
        if taken is False:
            return False
        self._locks[lock, name] = function
        return True

    def _connect(self) -> None:
        self._connection = connect(*self._place)
        query = "select pid, backend_start from pg_stat_activity where pid = pg_backend_pid()"
        (self._session,) = self.fetch(query)

    def _reconnect(self) -> None:
        """Connect again; whatever is left of the lost session is ended first, so that nothing of it comes late."""
        former = self._session
        self._connect()
        query = "select pg_terminate_backend(pid, 10000) from pg_stat_activity where (pid, backend_start) = (%s, %s)"
        self.fetch(query, *former)
        for (lock, name), function in self._locks.items():
            if not self._lock(lock, name, function):
                raise TakenError(f"another load went on with {name} while the connection was lost")

    def is_shared(self) -> bool:
        """Tell whether a pooler gives our session to others between transactions, and with it our locks."""
        if self._connection.info.backend_pid == self._session[0]:
            return False
        with translate_errors(), closing(connect(*self._place)) as other:
            for _ in range(5):
                ((ours,),) = self.fetch("select pg_backend_pid()")
                theirs = other.execute("select pg_backend_pid()").fetchone()
                if theirs == (ours,) or ours != self._session[0]:
                    return True
        return False

    def fetch(self, statement: str, *parameters: Any, **named: Any) -> list[tuple[Any, ...]]:
        """Run a statement, with positional parameters (%s) or named ones (%(name)s), and return its rows."""
        with translate_errors():
            cursor = self._connection.execute(statement, named or parameters or None, binary=True)
            return cursor.fetchall() if cursor.description else []

    def run(self, script: str) -> None:
        """Run statements that return nothing."""
        with translate_errors():
            self._connection.execute(script.encode())

    def copy(self, schema: str, table: str, columns: Sequence[str], pieces: Iterable[bytes]) -> None:
        """Copy rows in PostgreSQL's binary format."""
        names = ", ".join(map(quote_identifier, columns))
        statement = f"copy {quote_identifier(schema)}.{quote_identifier(table)} ({names}) from stdin (format binary)"
        with translate_errors(), self._connection.cursor().copy(statement) as copy:
            for piece in pieces:
                copy.write(piece)
