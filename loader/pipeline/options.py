"""Options of a load."""

from dataclasses import dataclass, field

from loader.duckdb import check_time_reading
from loader.events.times import DEFAULT_TIMES, UTC, TimeReading
from loader.inputs.csv import CsvDialect
from loader.inputs.discovery import Days
from loader.schema.limits import MAX_COLUMNS, MAX_TABLES, SchemaLimits


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
