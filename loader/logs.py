"""Write log records to standard error, one line each, as text or JSON, with the number of the load."""

import json
import logging
import os
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, Any

FORMATS = ("text", "json")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Style:
    """Format of log lines, and whether INFO is logged too."""

    format: str = "text"
    verbose: bool = False


class _Lines(logging.Formatter):
    """Formats a record as one line. In text, the error that ends a command begins with `error:` instead of the time."""

    def __init__(self, style: Style) -> None:
        super().__init__()
        self.style = style
        self.load_id: int | None = None

    def format(self, record: logging.LogRecord) -> str:
        message = " ".join(record.getMessage().split())
        time = datetime.fromtimestamp(record.created, UTC)
        if self.style.format == "json":
            return json.dumps(
                {
                    "time": time.isoformat(timespec="milliseconds"),
                    "level": record.levelname.lower(),
                    "load_id": self.load_id,
                    "process": record.process,
                    "logger": record.name,
                    "message": message,
                }
            )
        error = "\x1b[1;31merror:\x1b[0m" if has_colours(sys.stderr) else "error:"
        start = error if record.name == __name__ else f"{time:%Y-%m-%d %H:%M:%S}Z"
        return f"{start} {message}" + (f" [load {self.load_id}]" if self.load_id is not None else "")


def has_colours(stream: IO[Any]) -> bool:
    """Return whether a stream is a terminal with colours, and the variable `NO_COLOR` does not forbid them."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") not in {None, "", "dumb"}


class _StandardError(logging.Handler):
    """Writes to the current `sys.stderr`, which may be replaced at run time."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            print(self.format(record), file=sys.stderr, flush=True)
        except (OSError, ValueError):
            self.handleError(record)


_handler = _StandardError()
_lines = _Lines(Style())


def configure(style: Style) -> None:
    """Set the format and level of this process's log lines."""
    global _lines  # noqa: PLW0603
    _lines = _Lines(style)
    _handler.setFormatter(_lines)
    root = logging.getLogger()
    root.addHandler(_handler)
    root.setLevel(logging.INFO if style.verbose else logging.WARNING)


def style() -> Style:
    """Return the current style, to configure another process of the same load."""
    return _lines.style


def bind(load_id: int | None) -> None:
    """Add a load's number to all further lines; None removes it."""
    _lines.load_id = load_id


def report_error(message: str) -> None:
    """Log the error that ends the command."""
    _log.error("%s", message)
