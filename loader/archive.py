"""Archive: what the names in a folder of files say: Segment's received days, and what is no file of events."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime

from loader.errors import UsageError

#: Names that tools leave beside what they write, and of files that are not yet whole. A leading dot hides a file.
NO_EVENTS = re.compile(
    r"\.|dummy-object\.txt$|_SUCCESS$|_committed_|_started_|.*(_\$folder\$|\.crc|\.part|\.filepart|\.tmp|~)$"
)
#: A folder of Segment's archive: the UTC day as a Unix time stamp, in seconds or in milliseconds.
_DAY = re.compile(r"[0-9]{9,10}([0-9]{3})?")
_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Days:
    """The received days to load, first and last included; None is no limit."""

    first: date | None = None
    last: date | None = None

    def __post_init__(self) -> None:
        if self.first and self.last and self.first > self.last:
            raise UsageError(f"there is no day from {self.first} to {self.last}; exchange --from and --to")

    def __bool__(self) -> bool:
        return self != Days()

    def have(self, path: str) -> bool:
        """Tell whether a file was received on one of these days; one of an unknown day was not."""
        if not self:
            return True
        day = received_day(path)
        return day is not None and (self.first or day) <= day <= (self.last or day)


def holds_events(path: str, size: int | None) -> bool:
    """Tell whether a file that was found in a folder, at a path below it, may hold events.

    >>> [holds_events(path, 9) for path in ("a/b.gz", "a/.git/b", "_SUCCESS", "a.gz.part")], holds_events("a.gz", 0)
    ([True, False, False, False], False)
    """
    return bool(size) and not any(NO_EVENTS.match(part) for part in path.split("/"))


def received_day(path: str) -> date | None:
    """Return the day in the folder right above a file, if that is one of Segment's archive.

    >>> received_day("segment-logs/Xy1/1735689600000/a.gz"), received_day("logs/1735689600/a.gz"), received_day("a.gz")
    (datetime.date(2025, 1, 1), datetime.date(2025, 1, 1), None)
    """
    folder = path.replace("\\", "/").rpartition("/")[0].rpartition("/")[2]
    if not _DAY.fullmatch(folder):
        return None
    seconds = int(folder) // (1000 if len(folder) > 10 else 1)
    return None if seconds % _SECONDS else datetime.fromtimestamp(seconds, UTC).date()
