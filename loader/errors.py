"""What can go wrong, and the exit code each error ends the command with.

LoaderError                 1
├── UsageError              2   what was asked for makes no sense
├── SchemaError             2   the database is not prepared, or by another version
├── InputError              1   a file cannot be read
│   └── UnfinishedError         it is still being written
├── BusyError               4   another load runs
│   └── TakenError              it reads what this one wants, or took it over
└── WarehouseError          1   the database is away, or says no
    ├── OutageError             it cannot work now, whatever it is asked
    │   └── DisconnectedError       the connection is lost
    ├── RefusedError            it refuses a value among the rows
    │   └── OverfullError       for it is one too many
    └── ContentionError         another transaction was first, or holds the lock
"""


class LoaderError(Exception):
    """A failure whose message tells the user what, where and what to do."""

    exit_code = 1


class UsageError(LoaderError):
    """Arguments or settings that cannot be followed."""

    exit_code = 2


class SchemaError(LoaderError):
    """A database that is not prepared for this version of the loader."""

    exit_code = 2


class InputError(LoaderError):
    """A file that is missing, unreadable or broken."""


class UnfinishedError(InputError):
    """A file that is still being written, and is left for the next load."""


class BusyError(LoaderError):
    """Another load runs, and one of the two wants to be alone."""

    exit_code = 4


class TakenError(BusyError):
    """A lock that another load holds, perhaps since the connection was lost."""


class WarehouseError(LoaderError):
    """A database that cannot be reached, or does not allow what is needed."""


class OutageError(WarehouseError):
    """A database that cannot work now, whatever it is asked: its disk is full, an administrator stops it."""


class DisconnectedError(OutageError):
    """A connection that is lost, or cannot be made now."""


class RefusedError(WarehouseError):
    """Rows among which the database refuses at least one value."""


class OverfullError(RefusedError):
    """Rows among which at least one has more values than the database can hold."""


class ContentionError(WarehouseError):
    """A transaction that lost against another one and may be tried again."""
