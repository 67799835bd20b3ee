"""Print results to standard output, as text or as JSON."""

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from loader.pipeline.result import LoadResult


def print_json(value: Mapping[str, Any]) -> None:
    """Print one JSON object."""
    print(json.dumps(value, default=str, ensure_ascii=False))


def print_table(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows as a table, with the names of their values as headings; print nothing for no rows."""
    if not rows:
        return
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, title_style="bold", header_style="dim")
    for name, value in rows[0].items():
        is_number = isinstance(value, int | float)
        table.add_column(name.replace("_", " "), justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_text(value) for value in row.values()))
    # On a terminal, columns are folded to its width; in a pipe, each row is one line.
    width = None if sys.stdout.isatty() else 10_000
    Console(file=sys.stdout, highlight=False, markup=False, emoji=False, width=width).print(table, "")


def print_rows(what: str, rows: Sequence[Mapping[str, Any]], *, as_json: bool, nothing: str = "") -> None:
    """Print rows as a table, or as a JSON object with the key `what`; print `nothing` instead of an empty table."""
    if as_json:
        print_json({what: rows})
    elif rows:
        print_table("", rows)
    else:
        print(nothing)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S %Z}"
    if isinstance(value, float):
        return f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def print_result(result: LoadResult) -> None:
    """Print the result of a load, and commands that show details."""
    counts, seconds = result.counts, max(result.seconds, 0.001)
    verb = "would load" if result.load_id is None else "loaded"
    print_table("", [{"table": name, "new rows": count} for name, count in sorted(result.tables.items())])
    if result.left:
        print(f"{result.left:,} files are being read by another load")
    if result.values_placed:
        print(f"{result.values_placed:,} values discarded before were written into their columns")
    if not result.files:
        if not result.left:
            print("nothing to do: every file has been loaded before (--again reads them again)")
        return
    files = "1 file" if result.files == 1 else f"{result.files:,} files"
    print(
        f"{verb} {counts['events_loaded']:,} of {counts['events_read']:,} events from {files} "
        f"in {seconds:.1f} s ({counts['events_read'] / seconds:,.0f} events/s)"
    )
    details = {
        "duplicates": counts["events_duplicate"],
        "ignored calls": counts["events_ignored"],
        "rejected events": counts["events_rejected"],
        "discarded values": counts["values_discarded"],
        "repaired characters": counts["values_repaired"],
        "events by a wrong clock": counts["events_clock_suspect"],
    }
    if any(details.values()):
        print(", ".join(f"{count:,} {name}" for name, count in details.items() if count))
    if result.load_id is None:
        print(*result.ddl, sep=";\n", end=";\n" if result.ddl else "")
    if counts["events_rejected"]:
        print("`selligent-loader rejects list` shows what was rejected and why")
    if counts["values_discarded"]:
        print("`selligent-loader status` shows which values were discarded and why")
