"""The command `rejects`."""

import base64
import sys
from datetime import datetime
from functools import wraps
from typing import Any

import click

from loader.api import replay
from loader.cli.options import Command, Moment, connection_options, json_option, schema_limit_options, time_options
from loader.config import Settings
from loader.events.outcomes import REJECT_REASONS
from loader.pipeline.options import Options
from loader.pipeline.rejected_events import RejectFilter, export_rejects, list_rejects, purge_rejects, read_reject
from loader.schema.source import open_warehouse
from loader.terminal.output import print_json, print_rows
from loader.terminal.tables import print_table


@click.group(
    epilog="\b\nExamples:\n  selligent-loader rejects list\n  selligent-loader rejects show 17\n"
    "  selligent-loader rejects replay --reason no_table --max-tables 400\n"
    "  selligent-loader rejects replay --reason no_time --time-format '%d/%m/%Y %H:%M'\n"
    "  selligent-loader rejects export --since 2025-03-01 --out rejects.jsonl\n"
    "  selligent-loader rejects purge --older-than 90d"
)
def rejects() -> None:
    """List, replay, export and delete rejected events."""


@rejects.command("list")
@click.option("--limit", default=20, type=click.IntRange(1), show_default=True, help="Maximum number of events.")
@connection_options
@json_option
def list_command(settings: Settings, as_json: bool, limit: int) -> None:
    """List rejected events, the newest first."""
    with open_warehouse(settings) as warehouse:
        found = list_rejects(warehouse, limit)
    print_rows("rejects", found, as_json=as_json, nothing="no event has been rejected")


@rejects.command("show")
@click.argument("rejected_id", metavar="ID", type=int)
@connection_options
@json_option
def show_command(settings: Settings, as_json: bool, rejected_id: int) -> None:
    """Show one rejected event.

    Prints the reason to standard error, and the original bytes to standard output.
    """
    with open_warehouse(settings) as warehouse:
        found, raw = read_reject(warehouse, rejected_id)
    if as_json:
        print_json({**found, "raw_base64": base64.b64encode(raw).decode(), "raw": raw.decode("utf-8", "replace")})
        return
    for name, value in found.items():
        print(f"{name}: {value}", file=sys.stderr)
    sys.stdout.buffer.write(raw + b"\n" * sys.stdout.isatty())


def reject_filter(command: Command) -> Command:
    """Add the options that select rejects to a command, which receives them as `choice`."""

    @click.option(
        "--reason", type=click.Choice(sorted(REJECT_REASONS)), metavar="REASON", help="Only rejects with this reason."
    )
    @click.option("--since", type=Moment(), help="Only rejects since this time, such as 2025-03-01 (UTC) or 7d.")
    @wraps(command)
    def run(*arguments: Any, reason: str | None, since: datetime | None, **others: Any) -> Any:
        return command(*arguments, choice=RejectFilter(reason, since), **others)

    return run


@rejects.command("replay")
@reject_filter
@schema_limit_options
@time_options
@connection_options
@json_option
def replay_command(settings: Settings, as_json: bool, choice: RejectFilter, **options: Any) -> None:
    """Load rejected events that can be loaded now.

    The others stay rejected, with their new reason. Pieces of lines that were too long are not replayed.
    """
    result = replay(settings, choice, Options(**options))
    if as_json:
        print_json(result.as_json())
        return
    counts = result.counts
    print_table("", [{"table": name, "new rows": count} for name, count in sorted(result.tables.items()) if count])
    skipped = counts["events_duplicate"] + counts["events_ignored"]
    done = f"{counts['events_loaded']:,} loaded, {skipped:,} duplicate or ignored"
    if counts["events_suppressed"]:
        done += f", {counts['events_suppressed']:,} of suppressed people"
    print(f"{counts['events_read']:,} events replayed: {done}, {counts['events_rejected']:,} still rejected")


@rejects.command("export")
@reject_filter
@click.option("--out", required=True, type=click.Path(dir_okay=False), help="File to write; - is standard output.")
@connection_options
def export_command(settings: Settings, choice: RejectFilter, out: str) -> None:
    """Write rejected events to a file.

    Each is written as it was received, on one line; line breaks inside an event become blanks.
    """
    with open_warehouse(settings) as warehouse, click.open_file(out, "wb") as stream:
        for piece in export_rejects(warehouse, choice):
            stream.write(piece)


@rejects.command("purge")
@click.option("--older-than", "until", required=True, type=Moment(), help="Age or day, such as 90d, 12h or 2025-03-01.")
@click.option(
    "--reason", type=click.Choice(sorted(REJECT_REASONS)), metavar="REASON", help="Only rejects with this reason."
)
@click.option("--discards", is_flag=True, help="Delete discarded values too, except those that wait for a column.")
@connection_options
@json_option
def purge_command(settings: Settings, as_json: bool, until: datetime, reason: str | None, discards: bool) -> None:
    """Delete rejected events permanently, replayed or not."""
    with open_warehouse(settings) as warehouse:
        gone = purge_rejects(warehouse, RejectFilter(reason), until, discards=discards)
    if as_json:
        print_json(gone)
        return
    print(", ".join(f"{count:,} {what.replace('_', ' ')}" for what, count in gone.items()), "deleted")
