"""The commands `forward`, `integrations replay` and `integrations failed`, which deliver events."""

import os
import signal
import threading
import time
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from loader.cli.options import connection_options, json_option
from loader.config import Settings, home
from loader.errors import LoaderError, UsageError
from loader.forwarding.clock import Clock
from loader.inputs.discovery import Days
from loader.schema.source import open_warehouse
from loader.spool.segments import folder_name, site_log
from loader.terminal.output import print_json, print_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loader.forwarding.replay import Line, Replayed

DAY = click.DateTime(["%Y-%m-%d"])


@click.command(
    "forward",
    epilog="\b\nExamples:\n  selligent-loader forward\n  selligent-loader forward --once --spool /var/lib/spool",
)
@click.option(
    "--spool",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for received events, that of `serve`.  [default: in your data folder, or SELLIGENT_HOME]",
)
@click.option("--once", is_flag=True, help="End when all events are forwarded, with exit code 1 if some cannot be now.")
@click.option(
    "--notify",
    metavar="URL",
    envvar="SELLIGENT_NOTIFY_URL",
    help="Webhook for failures and recoveries; preferably in SELLIGENT_NOTIFY_URL.",
)
@click.option("--with-parent", is_flag=True, hidden=True, help="End when the process that has started this one ends.")
@connection_options
@click.pass_context
def forward_command(  # noqa: PLR0913
    context: click.Context,
    /,
    *,
    settings: Settings,
    spool: Path | None,
    once: bool,
    notify: str | None,
    with_parent: bool,
) -> None:
    """Forward received events to the integrations of a source.

    Runs beside `serve`, or inside it with `serve --forward`. Only one process forwards the events of a source; a second
    one waits until the first has ended.
    """
    from loader.forwarding.supervisor import forward
    from loader.monitoring.incidents import describe_place
    from loader.monitoring.webhook import check_url, post

    clock = Clock()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: clock.stop())
    if with_parent:
        threading.Thread(target=_stop_with_parent, args=(clock, os.getppid()), daemon=True).start()
    url = notify and check_url(notify)

    def send(message: str) -> bool:
        return post(url, describe_place(settings, message)) if url else True

    if not forward(settings, spool or home() / "spool", clock, send, once=once) and not clock.is_stopped:
        context.exit(LoaderError.exit_code)


def _stop_with_parent(clock: Clock, parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    clock.stop()


@click.command("replay")
@click.argument("name", metavar="NAME")
@click.option("--from", "first", metavar="DATE", type=DAY, help="First day on which events were received.")
@click.option("--to", "last", metavar="DATE", type=DAY, help="Last day on which events were received.")
@click.option(
    "--file", "paths", metavar="PATH", multiple=True, help="File, folder, glob or URL of events; can be repeated."
)
@click.option("--query", metavar="SQL", help="Send the rows of a query: each is a person, with traits in the columns.")
@click.option(
    "--user-id", default="user_id", show_default=True, metavar="COLUMN", help="Column of the query with the userId."
)
@click.option(
    "--segment", metavar="NAME", help="Fill this static segment with the people of the query, and remove who has left."
)
@click.option("--only-segment", is_flag=True, help="Send no profiles, only who enters and leaves the segment.")
@click.option("--dry-run", is_flag=True, help="Print the requests for the first rows of the query, and send nothing.")
@click.option(
    "--spool",
    type=click.Path(file_okay=False, path_type=Path),
    help="Spool whose kept events are sent without --file.  [default: in your data folder, or SELLIGENT_HOME]",
)
@connection_options
@json_option
def replay_command(  # noqa: PLR0913
    *,
    settings: Settings,
    as_json: bool,
    name: str,
    first: datetime | None,
    last: datetime | None,
    paths: tuple[str, ...],
    spool: Path | None,
    query: str | None,
    user_id: str,
    segment: str | None,
    only_segment: bool,
    dry_run: bool,
) -> None:
    """Send events to one integration once more.

    They come from files, from what the spool keeps, or they are the people of a query. The mapping and the field
    `integrations` of events count as always. Targets that find repeats by their ids store nothing twice.
    """
    from loader.forwarding.audience import Audience, AudienceReplay
    from loader.forwarding.configuration import find_integration
    from loader.forwarding.replay import replay

    days = Days(first and first.date(), last and last.date())
    _check_sources(query, paths, days, has_query_options=bool(segment or only_segment or dry_run))
    if only_segment and not segment:
        raise UsageError("--only-segment needs --segment NAME")
    with open_warehouse(settings) as warehouse:
        found = find_integration(warehouse, name)
        if query is not None:
            sending = AudienceReplay(warehouse, found, Audience(query, user_id, segment, has_profiles=not only_segment))
            if dry_run:
                print(sending.preview())
                return
            done = sending.run()
        else:
            log_name = site_log(settings.schema) if found.reads_site else settings.schema
            done = replay(warehouse, found, _read_lines(paths, spool, log_name, days), days)
    print_replayed(done, as_json=as_json)


def _check_sources(query: str | None, paths: tuple[str, ...], days: Days, *, has_query_options: bool) -> None:
    """Raise UsageError unless events are named, in one way."""
    if query is None and has_query_options:
        raise UsageError("--segment, --only-segment and --dry-run need --query")
    if query is not None and (paths or days):
        raise UsageError("--query excludes --file, --from and --to")
    if query is None and not paths and not days:
        raise UsageError("name the events: --from DATE, --to DATE, --file PATH or --query SQL")


def _read_lines(paths: tuple[str, ...], spool: Path | None, log_name: str, days: Days) -> "Iterator[Line]":
    """Return the lines of files if there are any, else of what the spool keeps of a log."""
    from loader.forwarding.replay import read_files, read_kept_segments

    if paths:
        return read_files(paths, days)
    return read_kept_segments((spool or home() / "spool") / folder_name(log_name), days)


@click.command("failed")
@click.argument("name", metavar="NAME")
@click.option("--retry", is_flag=True, help="Deliver them again; those that are delivered are removed.")
@click.option("--export", "out", type=click.Path(dir_okay=False), help="File to write them to; - is standard output.")
@click.option("--limit", default=20, type=click.IntRange(1), show_default=True, help="Maximum number that is listed.")
@connection_options
@json_option
def failed_command(  # noqa: PLR0913
    *, settings: Settings, as_json: bool, name: str, retry: bool, out: str | None, limit: int
) -> None:
    """List, deliver again or export events that could not be delivered.

    Each has the target's answer.
    """
    from loader.forwarding.configuration import find_integration
    from loader.forwarding.dead_letters import export_dead_letters, list_dead_letters
    from loader.forwarding.replay import retry_dead_letters

    if retry and out:
        raise click.UsageError("--retry and --export exclude each other")
    with open_warehouse(settings) as warehouse:
        found = find_integration(warehouse, name)
        if out:
            with click.open_file(out, "wb") as stream:
                stream.writelines(export_dead_letters(warehouse, found.integration_id))
        elif retry:
            print_replayed(retry_dead_letters(warehouse, found), as_json=as_json)
        else:
            rows = list_dead_letters(warehouse, found.integration_id, limit)
            print_rows("undelivered_events", rows, as_json=as_json, nothing="every event has been delivered")


def print_replayed(counts: "Replayed", *, as_json: bool) -> None:
    """Print the counts of a replay."""
    if as_json:
        print_json(asdict(counts))
        return
    print(f"{counts.delivered:,} events delivered, {counts.skipped:,} skipped, {counts.undelivered:,} not delivered")
    for reason, count in counts.failures.items():
        print(f"{count:,} failures: {reason}")
