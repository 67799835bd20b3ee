"""The commands `integrations replay` and `integrations failed`."""

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from loader.cli.options import connection_options, json_option
from loader.cli.output import print_json, print_rows
from loader.config import Settings, home
from loader.errors import UsageError
from loader.forwarding.configuration import find_integration
from loader.inputs.discovery import Days
from loader.schema.source import open_warehouse
from loader.spool.segments import folder_name

if TYPE_CHECKING:
    from loader.forwarding.replay import Replayed

DAY = click.DateTime(["%Y-%m-%d"])


@click.command("replay")
@click.argument("name", metavar="NAME")
@click.option("--from", "first", metavar="DATE", type=DAY, help="First day on which events were received.")
@click.option("--to", "last", metavar="DATE", type=DAY, help="Last day on which events were received.")
@click.option(
    "--file", "paths", metavar="PATH", multiple=True, help="File, folder, glob or URL of events; can be repeated."
)
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
) -> None:
    """Send events to one integration once more, of files or of what the spool keeps.

    The mapping and the field `integrations` of events count as always. Targets that find repeats by their ids store
    nothing twice.
    """
    from loader.forwarding.replay import read_files, read_kept_segments, replay

    days = Days(first and first.date(), last and last.date())
    place = (spool or home() / "spool") / folder_name(settings.schema)
    if not paths and not days:
        raise UsageError("name the events: --from DATE, --to DATE or --file PATH")
    lines = read_files(paths, days) if paths else read_kept_segments(place, days)
    with open_warehouse(settings) as warehouse:
        print_replayed(replay(warehouse, find_integration(warehouse, name), lines, days), as_json=as_json)


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
    """List, deliver again or export the events that could not be delivered, with the target's answers."""
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
