"""The result of a load."""

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from loader.errors import LoaderError
from loader.events.outcomes import COUNTS

if TYPE_CHECKING:
    from loader.pipeline.options import Options

#: Exit code of a load with more rejects than allowed.
PARTIAL = 3


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

    def set_status(self, options: "Options") -> None:
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
