"""Result: what was asked of a load, and what it did."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from loader.archive import Days
from loader.dialect import Dialect
from loader.ledger import COUNTS


@dataclass(frozen=True, slots=True)
class Options:
    """How to load."""

    #: Processes, each with files of its own.
    jobs: int = 1
    #: Rejected events above this number make the load partial.
    max_rejects: int = 0
    #: Whether only to find out what would be loaded.
    dry_run: bool = False
    #: Whether to read files that have been read before.
    again: bool = False
    #: How the cells of CSV files are told apart, and what their bytes mean.
    table: Dialect = field(default_factory=Dialect)
    #: Received days of the files to load.
    days: Days = field(default_factory=Days)


@dataclass(slots=True)
class LoadResult:
    """What a load did, or one process of it."""

    load_id: int | None
    #: running, ok, empty (no events), partial (more rejects than allowed) or failed.
    status: str = "running"
    files: int = 0
    counts: Counter[str] = field(default_factory=Counter)
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
        self.counts += other.counts
        self.tables += other.tables
        self.ddl += other.ddl
        self.errors += other.errors
        self.warnings += other.warnings

    def judge(self, options: Options) -> None:
        """Set the status of a load that has come to its end."""
        if self.errors:
            self.status = "failed"
        elif self.counts["events_rejected"] > options.max_rejects:
            self.status = "partial"
        else:
            self.status = "ok" if self.counts["events_read"] else "empty"

    def as_json(self) -> dict[str, Any]:
        """Return it as `load --json` prints it."""
        return {
            "load_id": self.load_id,
            "status": self.status,
            "files": self.files,
            **{name: self.counts[name] for name in COUNTS},
            "tables": dict(sorted(self.tables.items())),
            "seconds": round(self.seconds, 3),
            "ddl": self.ddl,
            "errors": self.errors,
            "warnings": self.warnings,
        }
