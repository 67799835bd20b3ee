"""Connect to PostgreSQL, run statements, copy rows. Errors of the driver become LoaderErrors."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import timedelta
from functools import cache
from typing import Any, NamedTuple

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

#: libpq parameters that detect a lost connection, unless the URL sets them. Seconds; `tcp_user_timeout` is in ms.
KEEPALIVES = {
    "connect_timeout": "10",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
}

#: Repeatable read, so that the figures of several queries agree while others write.
_SNAPSHOT = """
    set transaction isolation level repeatable read, read only;
    set local enable_hashjoin to on;
    set local enable_mergejoin to on;
    set local jit to off
"""


def connect(database_url: str | None, purpose: str = "", *, autocommit: bool = True) -> psycopg.Connection[Any]:
    """Open a connection; without a URL, to the embedded server, which is started if necessary.

    The purpose is part of the `application_name`. Raises UsageError for an invalid URL, WarehouseError if the server
    cannot be reached.
    """
    if database_url is None:
        database_url = embedded.start(home()).url
    with translate_errors():
        return psycopg.connect(
            _conninfo(database_url),
            autocommit=autocommit,
            prepare_threshold=None,  # a statement runs once per chunk, so preparing saves nothing
            fallback_application_name=f"selligent-loader {purpose}".strip(),
        )


@cache
def operation(name: str) -> str:
    """Return the text of `sql/operations/<name>.sql`."""
    return (data_root() / "sql" / "operations" / f"{name}.sql").read_text("utf-8")


def engine(database_url: str | None) -> Engine:
    """Return an SQLAlchemy engine whose connections are those of `connect`."""
    return create_engine(
        "postgresql+psycopg://", creator=lambda: connect(database_url, autocommit=False), poolclass=NullPool
    )


def run_script(connection: Connection, script: str) -> None:
    """Run a script of statements unchanged, in the transaction of an SQLAlchemy connection."""
    driver: Any = connection.connection.driver_connection
    driver.execute(script)


def try_script(connection: Connection, script: str) -> bool:
    """Run a script in a savepoint; roll back and return False if it would change the columns of a view."""
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
    # The password has an unencoded @. The driver's own message would show a part of it.
    if "@" in str(parameters.get("host", "")):
        raise UsageError(
            "the database url cannot be read; write postgresql://user:password@host:port/database, "
            "with special characters in the password percent-encoded"
        ) from None
    return make_conninfo("", **{**KEEPALIVES, **parameters})


class Address(NamedTuple):
    """Where a database is; the host is `localhost` for a connection without network."""

    host: str
    port: int
    database: str


class Warehouse:
    """A connection to one source's schemas. Statements that change data run in `transaction`.

    `retry` replaces a lost connection by a new one that takes the same advisory locks.
    """

    def __init__(self, settings: Settings, purpose: str = "") -> None:
        self.schema, self.ops = settings.schema, settings.ops
        self._place = settings.database_url, purpose
        self._retry_for = settings.retry_for
        #: Held locks, and the function that takes each.
        self._locks: dict[tuple[int, str], str] = {}
        self._connect()

    def close(self) -> None:
        self._connection.close()

    def cancel(self) -> None:
        """End the statement that another thread runs, which raises WarehouseError there."""
        self._connection.cancel()

    @property
    def address(self) -> Address:
        """Where the database is."""
        info = self._connection.info
        return Address("localhost" if info.host.startswith("/") else info.host, info.port, info.dbname)

    def qualified(self, table: str) -> str:
        """Return the name of a table of the source's schema, with the schema, quoted."""
        return f"{quote_identifier(self.schema)}.{quote_identifier(table)}"

    @contextmanager
    def transaction(
        self, lock_timeout: str = "10min", statement_timeout: str = "30min", *, trial: bool = False
    ) -> Iterator[None]:
        """Run the body in one transaction, in which unqualified names refer to the ops schema.

        A trial is rolled back. Raises LoaderErrors instead of the driver's errors.
        """
        with translate_errors(), self._connection.transaction(force_rollback=trial):
            self._connection.execute(
                f"set local search_path to {quote_identifier(self.ops)}, pg_catalog;"
                f"set local lock_timeout to '{lock_timeout}';"
                f"set local statement_timeout to '{statement_timeout}';"
                "set local idle_in_transaction_session_timeout to '10min';"
                # Look up keys by index, even while a table is being filled and its statistics are out of date.
                "set local enable_hashjoin to off; set local enable_mergejoin to off"
            )
            yield

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Run the body in a read-only transaction with one snapshot for all its queries.

        Unqualified names refer to the ops schema, as in `transaction`; a locked table is waited for for 10 seconds.
        """
        with self.transaction(lock_timeout="10s"):
            self.run(_SNAPSHOT)
            yield

    def retry(self, work: Callable[[], Result], span: timedelta | None = None) -> Result:
        """Do work that opens its own transactions; reconnect and repeat it while the connection is lost.

        `span` defaults to the settings' `retry_for`. Raises DisconnectedError if the connection is still lost then.
        """

        def attempt() -> Result:
            if self._connection.closed:
                self._reconnect()
            return work()

        return retry(attempt, self._retry_for if span is None else span)

    def try_lock(self, lock: int, name: str) -> bool:
        """Take a lock until `unlock`; return False if another session holds it.

        If another session holds it after a reconnection, `retry` raises TakenError.
        """
        return self._lock(lock, name, "pg_try_advisory_lock")

    def lock_shared(self, lock: int, name: str) -> None:
        """Take a shared lock until this connection is closed."""
        self._lock(lock, name, "pg_advisory_lock_shared")

    def lock_in_transaction(self, lock: int) -> None:
        """Take a lock of this source until the transaction ends, waiting for it if necessary."""
        self.fetch("select pg_advisory_xact_lock(%s, hashtext(%s))", lock, self.ops)

    def unlock(self, lock: int, name: str) -> None:
        """Release a lock."""
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
        """Connect again and take the held locks again.

        The lost session is terminated first, so that none of its work is committed later. Raises TakenError if another
        session has taken one of the locks.
        """
        former = self._session
        self._connect()
        query = "select pg_terminate_backend(pid, 10000) from pg_stat_activity where (pid, backend_start) = (%s, %s)"
        self.fetch(query, *former)
        for (lock, name), function in self._locks.items():
            if not self._lock(lock, name, function):
                raise TakenError(
                    f"another load has taken over {name!r} while the connection was lost; wait for that load to end"
                )

    def is_shared(self) -> bool:
        """Return whether a pooler shares our session, and so its locks, with other clients between transactions."""
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

    def run(self, script: str) -> int:
        """Run a script of statements without parameters, and return the number of rows that they have written."""
        with translate_errors():
            cursor = self._connection.execute(script.encode())
            rows = max(cursor.rowcount, 0)
            while cursor.nextset():
                rows += max(cursor.rowcount, 0)
        return rows

    def copy_out(self, statement: str) -> Iterator[bytes]:
        """Run a `copy … to stdout` statement and yield its lines."""
        with translate_errors(), self._connection.cursor().copy(statement.encode()) as copy:
            for piece in copy:
                yield bytes(piece)

    def copy(self, schema: str, table: str, columns: Sequence[str], pieces: Iterable[bytes]) -> None:
        """Copy rows into a table; `pieces` are the bytes of one binary COPY."""
        names = ", ".join(map(quote_identifier, columns))
        statement = f"copy {quote_identifier(schema)}.{quote_identifier(table)} ({names}) from stdin (format binary)"
        with translate_errors(), self._connection.cursor().copy(statement) as copy:
            for piece in pieces:
                copy.write(piece)
