"""The result of a check, and ages as text."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

OK, WARN, ERROR = "ok", "warn", "error"
#: The level of a check that could not judge what it found, for example because there are too few events.
SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Check:
    """The result of a check: its name, its level (ok, warn, error or skip), what was found, and what to do."""

    name: str
    level: str
    found: str
    todo: str = ""
    is_about_age: bool = False

    @property
    def line(self) -> str:
        """The result as one line of text."""
        return f"{self.level:5} {self.name}: {self.found}" + (f"; {self.todo}" if self.todo else "")

    def as_json(self) -> dict[str, Any]:
        """Return the object that `check --json` prints, in which a check that judged nothing is `ok` and `skipped`."""
        is_skipped = self.level == SKIP
        level = OK if is_skipped else self.level
        return {
            "check": self.name,
            "level": level,
            "found": self.found,
            "todo": self.todo or None,
            "skipped": is_skipped,
        }


def ago(age: timedelta) -> str:
    """Return an age as text.

    >>> ago(timedelta(minutes=5)), ago(timedelta(hours=26)), ago(timedelta(days=12, hours=1))
    ('5 min ago', '26 h ago', '12 days ago')
    """
    return f"{span(age)} ago"


def span(length: timedelta) -> str:
    """Return a span of time as text."""
    hours = length.total_seconds() / 3600
    return f"{length.days} days" if hours >= 72 else f"{hours:.0f} h" if hours >= 1 else f"{hours * 60:.0f} min"
