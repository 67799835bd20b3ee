"""Result: what was asked of a load, and what it did."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from loader.errors import LoaderError
from loader.events.outcomes import COUNTS
from loader.inputs.csv import CsvDialect
from loader.inputs.discovery import Days
from loader.schema.catalog import MAX_COLUMNS, MAX_TABLES, SchemaLimits

#: Exit code of a load with more rejects than allowed.
PARTIAL = 3


@dataclass(frozen=True, slots=True)
class Percentage:
    """A share of the events that are read, in per cent."""

    value: float

    def of(self, events: int) -> float:
        return events * self.value / 100


@dataclass(frozen=True, slots=True)
class Options:
    """How to load."""

    #: Processes, each with files of its own.
    jobs: int = 1
    #: Rejected events above this number, or share of those read, make the load partial.
    max_rejects: int | Percentage = 0
    #: Columns of a table, and tables of events, above which no more are made.
    max_columns: int = MAX_COLUMNS
    max_tables: int = MAX_TABLES
    #: Whether only to find out what would be loaded.
    dry_run: bool = False
    #: Whether to read files that have been read before.
    again: bool = False
    #: Whether no other load may run beside it.
    exclusive: bool = False
    #: How the cells of CSV files are told apart, and what their bytes mean.
    table: CsvDialect = field(default_factory=CsvDialect)
    #: Received days of the files to load.
    days: Days = field(default_factory=Days)

    @property
    def schema_limits(self) -> SchemaLimits:
        return SchemaLimits(self.max_columns, self.max_tables)

    def allows(self, rejected: int, read: int) -> bool:
        """Tell whether so many rejected events among those read are no failure."""
        limit = self.max_rejects
        return rejected <= (limit.of(read) if isinstance(limit, Percentage) else limit)


@dataclass(slots=True)
class LoadResult:
    """What a load did, or one process of it."""

    load_id: int | None
    #: running, ok, empty (no events), partial (more rejects than allowed) or failed.
    status: str = "running"
    files: int = 0
    #: Files that another load was reading.
    left: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    #: Values that had waited for their column, and stand in it now.
    values_placed: int = 0
    #: New rows by table.
    tables: Counter[str] = field(default_factory=Counter)
    #: Statements that made tables and columns, or would in a dry run.
    ddl: list[str] = field(default_factory=list)
    #: What could not be read, and why.
    errors: list[str] = field(default_factory=list)
    #: What was left for the next load, and why.
    warnings: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, other: "LoadResult") -> None:
        """Add what was done with another file."""
        self.files += other.files
        self.left += other.left
        self.counts += other.counts
        self.tables += other.tables
        self.ddl += other.ddl
        self.errors += other.errors
        self.warnings += other.warnings

    def judge(self, options: Options) -> None:
        """Set the status of a load that has come to its end."""
        if self.errors:
            self.status = "failed"
        elif not options.allows(self.counts["events_rejected"], self.counts["events_read"]):
            self.status = "partial"
        else:
            self.status = "ok" if self.counts["events_read"] else "empty"

    @property
    def exit_code(self) -> int:
        """What the command ends with."""
        return {"failed": LoaderError.exit_code, "partial": PARTIAL}.get(self.status, 0)

    def as_json(self) -> dict[str, Any]:
        """Return it as `load --json` prints it."""
        return {
            "load_id": self.load_id,
            "status": self.status,
            "files": self.files,
            **{name: self.counts[name] for name in COUNTS},
            "values_placed": self.values_placed,
            "tables": dict(sorted(self.tables.items())),
            "seconds": round(self.seconds, 3),
            "ddl": self.ddl,
            "errors": self.errors,
            "warnings": self.warnings,
        }
