"""The commands `status` and `check`."""

from typing import Any

import click

from loader.cli.options import Duration, connection_options, json_option
from loader.config import Settings
from loader.errors import UsageError
from loader.monitoring.checks import Limits, check, exit_code
from loader.monitoring.status import read_status
from loader.schema.source import open_warehouse
from loader.terminal.output import print_json
from loader.terminal.status import print_checks, print_status


@click.command(
    "check",
    epilog="\b\nExamples:\n  selligent-loader check\n  selligent-loader check --warn 26h --error 50h --json\n\n"
    "Exit codes: 0 if all checks pass or only warn, 5 if data is stale, 3 if another check fails.",
)
@click.option(
    "--warn", default="26h", type=Duration(), show_default=True, help="Age of the newest event above which to warn."
)
@click.option(
    "--error", default="50h", type=Duration(), show_default=True, help="Age of the newest event above which to fail."
)
@click.option(
    "--max-rejects", default=0, type=click.IntRange(0), help="Maximum rejected events within the time of --error."
)
@connection_options
@json_option
@click.pass_context
def check_command(context: click.Context, /, settings: Settings, as_json: bool, **limits: Any) -> None:
    """Check freshness, volume and consistency of the data.

    Prints one line per check; `skip` marks those that have too little to judge by. The number of consecutive days that
    a collection usually has no events is added to --warn and --error. The age of rare events, such as complaints, is
    not checked.
    """
    if limits["error"] < limits["warn"]:
        raise UsageError("--error must not be less than --warn")
    with open_warehouse(settings) as warehouse:
        checks = check(warehouse, Limits(**limits))
    if as_json:
        status = {0: "ok", 3: "wrong", 5: "stale"}[exit_code(checks)]
        print_json({"status": status, "checks": [check.as_json() for check in checks]})
    else:
        print_checks(checks)
    context.exit(exit_code(checks))


@click.command("status", epilog="\b\nExample:\n  selligent-loader status --json")
@connection_options
@json_option
def status_command(settings: Settings, as_json: bool) -> None:
    """Show loads, collections, rejects and discarded values."""
    with open_warehouse(settings) as warehouse:
        status = read_status(warehouse)
    print_json(status) if as_json else print_status(status)
