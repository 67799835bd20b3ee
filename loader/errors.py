"""Exceptions of the loader, and the exit code with which each ends the command.

LoaderError                 1
├── UsageError              2   invalid arguments or settings
├── SchemaError             2   the schema is not prepared, or has another version
├── InputError              1   a file cannot be read
│   └── UnfinishedError         the file is still being written
├── BusyError               4   another load is running
│   └── TakenError              another load holds a lock that this one needs
└── WarehouseError          1   the database cannot be reached, or reports an error
    ├── OutageError             the database cannot execute any statement now
    │   └── DisconnectedError       the connection is lost
    ├── RefusedError            the database refuses a value in the rows
    │   └── OverfullError       a row has more values than a page can hold
    ├── DeclaredDeadError       another load has recorded this one as killed
    └── ContentionError         a conflict with another transaction, or a lock timeout
"""


class LoaderError(Exception):
    """A failure. Its message says what happened, where, and what to do."""

    exit_code = 1


class UsageError(LoaderError):
    """Invalid arguments or settings."""

    exit_code = 2


class SchemaError(LoaderError):
    """A schema that is missing, incomplete, or of another version of the loader."""

    exit_code = 2


class InputError(LoaderError):
    """A file that is missing, unreadable or corrupt."""


class UnfinishedError(InputError):
    """A file that is still being written. The next load reads it again."""


class BusyError(LoaderError):
    """Another load is running and one of the two is `--exclusive`."""

    exit_code = 4


class TakenError(BusyError):
    """Another load holds a lock that this one needs, perhaps since the connection was lost."""


class WarehouseError(LoaderError):
    """The database cannot be reached, or reports an error."""


class OutageError(WarehouseError):
    """The database cannot execute any statement now: its disk is full, or it is shutting down, for example."""


class DisconnectedError(OutageError):
    """The connection is lost, or cannot be opened now."""


class RefusedError(WarehouseError):
    """The database refuses at least one value in the rows."""


class OverfullError(RefusedError):
    """At least one row has more values than a page of PostgreSQL can hold."""


class DeclaredDeadError(WarehouseError):
    """Another load has recorded this one as killed, while its connection was lost."""


class ContentionError(WarehouseError):
    """A transaction failed because of a concurrent one, and may be retried."""
