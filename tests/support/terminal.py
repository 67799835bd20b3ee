"""A terminal in memory, on which the functions that print are called directly."""

import io
import re
from collections.abc import Callable

import pytest

#: Sequences that set colours and the like on a terminal.
CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal(io.StringIO):
    """Standard output that says it is a terminal."""

    def isatty(self) -> bool:
        return True

    def reconfigure(self, **_: object) -> None:
        """Accept what is set for real terminals."""


def shown(monkeypatch: pytest.MonkeyPatch, columns: int, print_all: Callable[[], None]) -> str:
    """Return what a terminal with so many columns shows, with codes for colours."""
    terminal = Terminal()
    for name, value in {"COLUMNS": str(columns), "TERM": "xterm"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr("sys.stdout", terminal)
    print_all()
    monkeypatch.undo()
    return terminal.getvalue()


def plain(text: str) -> str:
    """Return what is shown without codes for colours, and without blanks at the ends of lines."""
    return "".join(f"{line.rstrip()}\n" for line in CODES.sub("", text).splitlines())
