"""Print results to standard output, as text or as JSON."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from loader.pipeline.result import LoadResult
from loader.terminal.console import STYLES, open_console
from loader.terminal.tables import AS_IT_IS, Layout, Row, print_table


def print_json(value: Mapping[str, Any]) -> None:
    """Print one JSON object."""
    print(json.dumps(value, default=str, ensure_ascii=False))


def print_rows(what: str, rows: Sequence[Row], *, as_json: bool, nothing: str = "", layout: Layout = AS_IT_IS) -> None:
    """Print rows as a table, or as a JSON object with the key `what`; print `nothing` instead of an empty table."""
    if as_json:
        print_json({what: rows})
    elif rows:
        print_table("", rows, layout)
    else:
        print(nothing)


def print_result(result: LoadResult) -> None:
    """Print the result of a load, and commands that show details of what it has stored."""
    counts, seconds = result.counts, max(result.seconds, 0.001)
    is_dry_run = result.load_id is None
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
    summary = Text.assemble(
        ("would load" if is_dry_run else "loaded", STYLES.get(result.status, "")),
        f" {counts['events_loaded']:,} of {counts['events_read']:,} events from {files} "
        f"in {seconds:.1f} s ({counts['events_read'] / seconds:,.0f} events/s)",
    )
    open_console().print(summary)
    details = {
        "duplicates": counts["events_duplicate"],
        "ignored calls": counts["events_ignored"],
        "rejected events": counts["events_rejected"],
        "events of suppressed people": counts["events_suppressed"],
        "discarded values": counts["values_discarded"],
        "repaired characters": counts["values_repaired"],
        "events by a wrong clock": counts["events_clock_suspect"],
    }
    if any(details.values()):
        print(", ".join(f"{count:,} {name}" for name, count in details.items() if count))
    if is_dry_run:
        print(*result.ddl, sep=";\n", end=";\n" if result.ddl else "")
        return
    if counts["events_rejected"]:
        print("`selligent-loader rejects list` shows what was rejected and why")
    if counts["values_discarded"]:
        print("`selligent-loader status` shows which values were discarded and why")
