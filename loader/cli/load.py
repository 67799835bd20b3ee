"""The command `load`."""

from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from loader import logs
from loader.api import load
from loader.cli.options import (
    Allowance,
    Duration,
    OptionsUnderHeadings,
    connection_options,
    input_options,
    json_option,
    schema_limit_options,
    time_options,
)
from loader.config import Settings
from loader.monitoring.outcome import Report, report_outcome
from loader.pipeline.options import Options
from loader.terminal.output import print_json, print_result
from loader.terminal.progress import report_progress


@click.command(
    "load",
    cls=OptionsUnderHeadings,
    headings={
        "What is read": "--from --to --again --delimiter --encoding --time-format --time-zone",
        "How it is loaded": "--dry-run --jobs --exclusive --no-refresh --retry-for",
        "Limits": "--max-rejects --max-columns --max-tables",
        "What is reported": "--json --metrics --notify --verbose --log-format",
        "Where to": "--database-url --schema",
    },
    epilog="\b\nExamples:\n  selligent-loader load events.jsonl archive/ 'logs/*.gz'\n"
    "  zcat events.gz | selligent-loader load -\n  selligent-loader load --dry-run events.jsonl\n"
    "  selligent-loader load --from 2025-03-01 --to 2025-03-07 s3://bucket/segment-logs/\n"
    "  selligent-loader load --delimiter ';' --encoding latin-1 export.csv history.parquet\n"
    "  selligent-loader load --time-format '%d/%m/%Y %H:%M' --time-zone Europe/Paris export.csv",
)
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@click.option("--jobs", default=1, type=click.IntRange(1), help="Number of processes; each loads whole files.")
@click.option(
    "--max-rejects",
    default="0",
    type=Allowance(),
    help="Exit with code 3 if more events are rejected than this number, or share of those read (0.5%).",
)
@schema_limit_options
@click.option("--dry-run", is_flag=True, help="Print what would be loaded, with new tables and columns; write nothing.")
@click.option("--again", is_flag=True, help="Read files that have been read before too; no event is stored twice.")
@click.option("--no-refresh", is_flag=True, help="Leave the figures behind the views to a later `refresh`.")
@click.option("--exclusive", is_flag=True, help="Run alone: exit with code 4 if another load is running.")
@click.option(
    "--retry-for",
    default="10min",
    type=Duration(),
    show_default=True,
    help="How long to retry after a lost connection.",
)
@click.option(
    "--metrics",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Metrics file for Prometheus' textfile collector.",
)
@click.option(
    "--notify",
    metavar="URL",
    envvar="SELLIGENT_NOTIFY_URL",
    help="Webhook for failures, recoveries and new columns; preferably in SELLIGENT_NOTIFY_URL.",
)
@input_options
@time_options
@connection_options
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
    retry_for: timedelta,
    no_refresh: bool,
    **values: Any,
) -> None:
    """Load files, folders, globs, URLs or - for standard input.

    Reads JSON, CSV and Parquet, plain or compressed with gzip or zstd.
    """
    options = Options(**values)
    settings = replace(settings, retry_for=retry_for)
    with nullcontext(Report()) if options.dry_run else report_outcome(settings, metrics, notify) as report:
        report.result = result = load(settings, paths, options, report_progress, is_refreshing=not no_refresh)
    print_json(result.as_json()) if as_json else print_result(result)
    for error in result.errors:
        logs.report_error(error)
    context.exit(result.exit_code)
