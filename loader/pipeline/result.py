"""Options of a load, and its result."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from loader.duckdb import check_time_reading
from loader.errors import LoaderError
from loader.events.outcomes import COUNTS
from loader.events.times import DEFAULT_TIMES, UTC, TimeReading
from loader.inputs.csv import CsvDialect
from loader.inputs.discovery import Days
from loader.schema.catalog import MAX_COLUMNS, MAX_TABLES, SchemaLimits

#: Exit code of a load with more rejects than allowed.
PARTIAL = 3


@dataclass(frozen=True, slots=True)
class Percentage:
    """A share of the events read, in per cent."""

    value: float

    def of(self, events: int) -> float:
        return events * self.value / 100


@dataclass(frozen=True, slots=True)
class Options:
    """Options of a load.

    Raises UsageError for a format or a zone of times that cannot be used.
    """

    #: Number of processes; each reads whole files.
    jobs: int = 1
    #: With more rejected events than this number, or share of the events read, the load is partial.
    max_rejects: int | Percentage = 0
    #: Maximum number of columns of a table, and of event tables; no more are created.
    max_columns: int = MAX_COLUMNS
    max_tables: int = MAX_TABLES
    #: Only determine what would be loaded; write nothing.
    dry_run: bool = False
    #: Read files that have been read before.
    again: bool = False
    #: Fail if another load is running, and let no other start.
    exclusive: bool = False
    #: Delimiter and encoding of CSV files.
    table: CsvDialect = field(default_factory=CsvDialect)
    #: Days on which Segment received the events of the files to load, for Segment's archive.
    days: Days = field(default_factory=Days)
    #: A format of times to try before all others, as of strptime, such as `%d/%m/%Y %H:%M`.
    time_format: str | None = None
    #: The zone of times without one, as in the IANA database.
    time_zone: str = UTC

    def __post_init__(self) -> None:
        if self.times != DEFAULT_TIMES:
            check_time_reading(self.times)

    @property
    def times(self) -> TimeReading:
        return TimeReading(self.time_format, self.time_zone)

    @property
    def schema_limits(self) -> SchemaLimits:
        return SchemaLimits(self.max_columns, self.max_tables)

    def allows(self, rejected: int, read: int) -> bool:
        """Return whether so many rejected events, of those read, are within the limit."""
        limit = self.max_rejects
        return rejected <= (limit.of(read) if isinstance(limit, Percentage) else limit)


@dataclass(slots=True)
class LoadResult:
    """What a load, or one process of it, has done."""

    load_id: int | None
    #: running, ok, empty (no events), partial (more rejects than allowed) or failed.
    status: str = "running"
    files: int = 0
    #: Number of files that were skipped because another load was reading them.
    left: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    #: Number of values discarded by earlier loads that were written into their columns.
    values_placed: int = 0
    #: New rows by table.
    tables: Counter[str] = field(default_factory=Counter)
    #: Statements that created tables and columns, or would in a dry run.
    ddl: list[str] = field(default_factory=list)
    #: Files that could not be read, and why.
    errors: list[str] = field(default_factory=list)
    #: Files that were left for the next load, and why.
    warnings: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, other: "LoadResult") -> None:
        """Add the result of another file."""
        self.files += other.files
        self.left += other.left
        self.counts += other.counts
        self.tables += other.tables
        self.ddl += other.ddl
        self.errors += other.errors
        self.warnings += other.warnings

    def set_status(self, options: Options) -> None:
        """Set the status of a load that has read all its files."""
        if self.errors:
            self.status = "failed"
        elif not options.allows(self.counts["events_rejected"], self.counts["events_read"]):
            self.status = "partial"
        else:
            self.status = "ok" if self.counts["events_read"] else "empty"

    @property
    def exit_code(self) -> int:
        """The exit code of the command."""
        return {"failed": LoaderError.exit_code, "partial": PARTIAL}.get(self.status, 0)

    def as_json(self) -> dict[str, Any]:
        """Return the object that `load --json` prints."""
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
