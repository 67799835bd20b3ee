"""Write to standard output with colours on a terminal, and plainly elsewhere: ok green, warn amber, error red."""

import sys
from io import TextIOWrapper
from typing import TextIO, cast

from rich.console import Console

from loader.logs import has_colours

#: The colour of a word that says how something is: a level of a check, the status of a load or an integration.
STYLES = {
    **dict.fromkeys(("ok", "enabled"), "green"),
    **dict.fromkeys(("warn", "partial", "paused"), "yellow"),
    **dict.fromkeys(("error", "failed", "killed", "disabled"), "bold red"),
    **dict.fromkeys(("skip", "empty"), "dim"),
}
#: Columns of a line in a pipe, in which nothing is folded.
UNLIMITED = 10_000


def is_terminal() -> bool:
    """Return whether a person looks at standard output."""
    return sys.stdout.isatty()


def open_console(stream: TextIO | None = None) -> Console:
    """Return a console on a stream, by default standard output. Text is never taken for markup."""
    stream = stream or sys.stdout
    if stream is sys.stdout and is_terminal():
        cast(TextIOWrapper, stream).reconfigure(errors="replace")  # for terminals without Unicode
    return Console(
        file=stream,
        color_system="auto" if has_colours(stream) else None,
        width=None if stream.isatty() else UNLIMITED,
        highlight=False,
        markup=False,
        emoji=False,
    )
