"""Command line: arguments in, exit code out."""

import os
import signal
import sys
import threading
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click

from loader import __version__, logs, sample, sample_site
from loader.cli_check import check_command
from loader.cli_db import db
from loader.cli_keys import ENDPOINT, introduce, keys, print_overview, sources
from loader.cli_options import Allowance, Duration, caps_options, connected, input_options, json_option
from loader.cli_rejects import rejects
from loader.cli_serve import serve_command
from loader.cli_views import dictionary_command, grant_command, refresh_command, settings_group
from loader.cli_widen import widen_command
from loader.config import Settings
from loader.errors import LoaderError
from loader.ledger import prepared
from loader.migrate import migrate
from loader.output import print_json, print_result, print_table
from loader.pipeline import load
from loader.progress import reported
from loader.refresh import refresh, refresh_after
from loader.report import Report, watched
from loader.result import Options
from loader.status import read_status
from loader.tuning import change_setting

EPILOG = """\b
Examples:
  selligent-loader init
  selligent-loader load events/ archive/*.gz
  selligent-loader status

Without SELLIGENT_DATABASE_URL (or DATABASE_URL) everything goes to an embedded PostgreSQL.
"""


@click.group(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="selligent-loader")
def commands() -> None:
    """Bring Selligent's e-mail events into PostgreSQL, as Segment's warehouses would have written them."""


commands.add_command(db)
commands.add_command(rejects)
commands.add_command(settings_group)
commands.add_command(keys)
commands.add_command(sources)
for command in (
    check_command,
    refresh_command,
    grant_command,
    dictionary_command,
    widen_command,
    serve_command,
):
    commands.add_command(command)


segment_option = click.option(
    "--segment-schema",
    "sites",
    metavar="NAME",
    multiple=True,
    help="Schema with the site's Segment data, kept as a setting; several are possible.",
)


@commands.command(
    "init",
    epilog="\b\nExamples:\n  selligent-loader init\n  selligent-loader init --segment-schema site\n"
    "  selligent-loader init --nickname Selligent --endpoint https://events.example.com",
)
@segment_option
@click.option("--nickname", help="What people call the source; prints what Selligent needs to send events here.")
@click.option("--endpoint", metavar="URL", default=ENDPOINT, show_default=True, help="Where Selligent finds `serve`.")
@connected
@json_option
def init_command(
    settings: Settings, as_json: bool, sites: tuple[str, ...], nickname: str | None, endpoint: str
) -> None:
    """Prepare a database: schemas, tables, views. Safe to repeat."""
    done = _migrate(settings, sites)
    overview = introduce(settings, nickname, endpoint) if nickname else {}
    if as_json:
        print_json(done | overview)
        return
    _print_migrated(done)
    print_overview(overview) if overview else print("next: selligent-loader load PATH")


@commands.command("migrate", epilog="\b\nExample:\n  selligent-loader migrate")
@segment_option
@connected
@json_option
def migrate_command(settings: Settings, as_json: bool, sites: tuple[str, ...]) -> None:
    """Bring schema and views up to date, with what the site's data has become."""
    done = _migrate(settings, sites)
    print_json(done) if as_json else _print_migrated(done)


def _migrate(settings: Settings, sites: tuple[str, ...]) -> dict[str, Any]:
    before, after = migrate(settings)
    if sites:
        with prepared(settings) as warehouse:
            change_setting(warehouse, "segment_schemas", " ".join(sites))
    refresh(settings)
    return {"schema": settings.schema, "from": before, "to": after}


def _print_migrated(done: dict[str, Any]) -> None:
    before, after = done["from"], done["to"]
    what = "is ready as it was" if before == after else f"is brought from version {before} to {after}"
    print(f"schema {done['schema']!r} {what if before else f'is made, version {after}'}")


@commands.command(
    "load",
    epilog="\b\nExamples:\n  selligent-loader load events.jsonl archive/ 'logs/*.gz'\n"
    "  zcat events.gz | selligent-loader load -\n  selligent-loader load --dry-run events.jsonl\n"
    "  selligent-loader load --from 2025-03-01 --to 2025-03-07 s3://bucket/segment-logs/\n"
    "  selligent-loader load --delimiter ';' --encoding latin-1 export.csv history.parquet",
)
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@click.option("--jobs", default=1, type=click.IntRange(1), help="Processes, each with files of its own.")
@click.option(
    "--max-rejects",
    default="0",
    type=Allowance(),
    help="More rejected events than this number, or share of those read (0.5%), make exit code 3.",
)
@caps_options
@click.option("--dry-run", is_flag=True, help="Say what would be loaded, with new tables and columns; write nothing.")
@click.option("--again", is_flag=True, help="Read files that have been read before; what is stored stays once.")
@click.option("--exclusive", is_flag=True, help="Run alone: exit code 4 if another load runs.")
@click.option(
    "--retry-for", default="10min", type=Duration(), show_default=True, help="How long to try a lost connection again."
)
@click.option(
    "--metrics",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File for Prometheus: how the load ended, and what the last good one did.",
)
@click.option(
    "--notify",
    metavar="URL",
    envvar="SELLIGENT_NOTIFY_URL",
    help="Webhook that is told of a first failure, the recovery, and new columns; better in SELLIGENT_NOTIFY_URL.",
)
@input_options
@connected
@json_option
@click.pass_context
def load_command(  # noqa: PLR0913
    context: click.Context,
    /,
    *,
    settings: Settings,
    as_json: bool,
    paths: tuple[str, ...],
    metrics: Path | None,
    notify: str | None,
    **how: Any,
) -> None:
    """Load files, folders, globs, URLs or - for standard input.

    They hold JSON lines or arrays, CSV or Parquet, plain or compressed with gzip or zstd.
    """
    options = Options(**how)
    with nullcontext(Report()) if options.dry_run else watched(settings, metrics, notify) as report:
        report.result = result = load(settings, paths, options, reported)
        refresh_after(settings, options, result)
    print_json(result.as_json()) if as_json else print_result(result)
    for error in result.errors:
        logs.tell_error(error)
    context.exit(result.exit_code)


@commands.command("status", epilog="\b\nExample:\n  selligent-loader status --json")
@connected
@json_option
def status_command(settings: Settings, as_json: bool) -> None:
    """Show the last loads, the collections, and what was rejected or discarded."""
    with prepared(settings) as warehouse:
        status = read_status(warehouse)
    if as_json:
        print_json(status)
        return
    for title, rows in status.items():
        print_table(title, rows)


@commands.command(
    "sample",
    epilog="\b\nExamples:\n  selligent-loader sample --events 1000000 --out events.jsonl\n"
    "  selligent-loader sample --site --out site.sql && selligent-loader db psql -- -q -f site.sql",
)
@click.option("--events", default=100_000, type=click.IntRange(0), show_default=True, help="Number of lines.")
@click.option("--seed", default=1, type=int, show_default=True, help="The same seed gives the same bytes.")
@click.option("--site", is_flag=True, help="What the same people did on the site instead, as a script for psql.")
@click.option("--site-schema", default="site", show_default=True, help="The schema that script makes.")
@click.option("--out", default="-", type=click.Path(dir_okay=False), help="File to write; - is standard output.")
def sample_command(events: int, seed: int, site: bool, site_schema: str, out: str) -> None:
    """Write realistic sample events, one year of a mid-size sender."""
    with click.open_file(out, "wb") as stream:
        for block in sample_site.script(events, seed, site_schema) if site else sample.lines(events, seed):
            stream.write(block)


def main() -> None:
    """Run the command and exit."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    code = run(sys.argv[1:])
    # A thread that reads from a silent pipe would not let the interpreter end in peace.
    if threading.active_count() > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Run a command and return its exit code; errors are told on standard error."""
    logs.configure(logs.Style())
    try:
        return commands.main(arguments, prog_name="selligent-loader", standalone_mode=False) or 0
    except click.ClickException as exc:
        exc.show()
        return exc.exit_code
    except LoaderError as exc:
        _tell(str(exc), arguments)
        return exc.exit_code
    except BrokenPipeError:  # whoever read our output has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return LoaderError.exit_code
    except OSError as exc:
        _tell(str(exc), arguments)
        return LoaderError.exit_code
    except click.Abort:
        _tell("interrupted; the next load goes on where this one ended", arguments)
        return LoaderError.exit_code


def _tell(error: str, arguments: list[str]) -> None:
    if "--json" in arguments:
        print_json({"status": "failed", "error": error})
    logs.tell_error(error)
