"""Print the state of a source, the results of its checks, and its settings."""

from collections.abc import Mapping, Sequence
from itertools import groupby, zip_longest
from typing import Any

from rich.table import Table
from rich.text import Text

from loader.monitoring.results import ERROR, SKIP, WARN, Check
from loader.terminal.console import STYLES, is_terminal, open_console
from loader.terminal.tables import ESTIMATE, Layout, Row, print_table

_LOADS = Layout(
    {
        "load_id": "load",
        "started_at": "started",
        "events_read": "read",
        "events_loaded": "loaded",
        "events_duplicate": "duplicate",
        "events_rejected": "rejected",
        "events_clock_suspect": "wrong clock",
    },
    notes=("error",),
    counts=frozenset({"events_duplicate", "events_rejected", "events_clock_suspect"}),
    optional=("seconds", "files", "kind", "events_read"),
)
INTEGRATIONS = Layout(
    {
        "events_delivered": "delivered",
        "events_per_second": "events/s",
        "lag_events": "waiting",
        "lag_seconds": "lag seconds",
        "undelivered_now": "undelivered",
    },
    hidden=frozenset({"host", "updated_at"}),
    notes=("error",),
    counts=frozenset({"events_per_second", "lag_events", "lag_seconds", "undelivered_now", "failures"}),
    optional=("failures", "events_per_second", "lag_seconds", "failing_since"),
)
#: How sections are shown on a terminal, by title.
_LAYOUTS: Mapping[str, Layout] = {
    "running": Layout(
        {
            "load_id": "load",
            "started_at": "started",
            "is_alive": "alive",
            "events_read": "read",
            "files_done": "files",
            "events_per_second": "events/s",
        },
        optional=("host", "process", "kind", "files_done", "position", "size"),
    ),
    "figures": Layout({"refreshed_at": "refreshed"}, notes=("error",)),
    "loads": _LOADS,
    "discards": Layout(notes=("todo",)),
    "discard_reasons": Layout(notes=("todo",)),
    "pending": Layout(notes=("why", "todo")),
    "integrations": INTEGRATIONS,
    "locks": Layout({"load_id": "load", "is_granted": "granted"}),
}


def print_status(status: Mapping[str, Sequence[Row]]) -> None:
    """Print the sections of `read_status`."""
    sections = _without_repetition(status) if is_terminal() else status
    for title, rows in sections.items():
        print_table(title, rows, _LAYOUTS.get(title, Layout()))


def _without_repetition(status: Mapping[str, Sequence[Row]]) -> dict[str, list[dict[str, Any]]]:
    """Mark estimates, name what an error is about, and leave out advice that other rows give more precisely."""
    sections = {title: [dict(row) for row in rows] for title, rows in status.items()}
    for row in sections["collections"]:
        if row.pop("rows_are") == "estimated":
            row["rows"] = f"{ESTIMATE}{row['rows']:,}"
    for title, name in (("loads", "load_id"), ("integrations", "name")):
        for row in sections[title]:
            row["error"] = row["error"] and f"{row[name]}: {row['error']}"
    advised = {row["reason"] for row in sections["discards"]}
    for row in sections["discard_reasons"]:
        if row["reason"] in advised:
            row["todo"] = ""
    return sections


def print_checks(checks: Sequence[Check]) -> None:
    """Print the results of checks: one line each; on a terminal with advice once, and what was not judged summed up."""
    if not is_terminal():
        print(*(check.line for check in checks), sep="\n")
        return
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    judged = [check for check in checks if check.level != SKIP]
    for check, next_one in zip_longest(judged, judged[1:]):
        grid.add_row(_level(check.level), _paragraph(check.name, check.found))
        if check.todo and (next_one is None or next_one.todo != check.todo):
            grid.add_row("", Text(f"→ {check.todo}"))
    for subject, reason in _skipped(checks):
        grid.add_row(_level(SKIP), _paragraph(subject, reason))
    console = open_console()
    console.print(grid)
    console.print()
    console.print(_summary(checks))


def _paragraph(subject: str, sentence: str) -> Text:
    return Text.assemble((subject, "bold"), f": {sentence}")


def _level(level: str) -> Text:
    return Text(level, STYLES[level])


def _skipped(checks: Sequence[Check]) -> list[tuple[str, str]]:
    """Return the checks that could not be judged, those of the same kind in one entry.

    >>> _skipped([Check("volume of a", SKIP, "x"), Check("views", "ok", ""), Check("volume of b", SKIP, "y")])
    [('volume', 'not judged, too few events or days: a, b')]
    """
    skipped = sorted((check.name.split(" of ", 1), check.found) for check in checks if check.level == SKIP)
    entries = []
    for kind, found in groupby(skipped, lambda item: item[0][0]):
        group = list(found)
        if kind in {"freshness", "volume"}:
            tables = ", ".join(name[-1] for name, _ in group)
            entries.append((kind, f"not judged, too few events or days: {tables}"))
        else:
            entries += [(" of ".join(name), reason) for name, reason in group]
    return entries


def _summary(checks: Sequence[Check]) -> Text:
    """Return how many checks there are, and how many of them failed, warn, or could not judge."""
    counts = {level: sum(check.level == level for check in checks) for level in (ERROR, WARN, SKIP)}
    texts = {ERROR: "failed", WARN: "with a warning", SKIP: "not judged"}
    parts = [Text(f"{len(checks)} checks")]
    parts += [Text(f"{count} {texts[level]}", STYLES[level]) for level, count in counts.items() if count]
    return Text(", ").join(parts) if len(parts) > 1 else Text(f"all {len(checks)} checks passed", STYLES["ok"])


def print_settings(settings: Sequence[Row]) -> None:
    """Print settings; on a terminal, each with its description below the value."""
    if not is_terminal():
        print_table("", settings)
        return
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True, style="bold")
    grid.add_column(overflow="fold")
    for row in settings:
        grid.add_row(row["name"], Text(row["value"] or "(empty)"))
        grid.add_row("", Text(row["description"], "dim"))
    open_console().print(grid)
