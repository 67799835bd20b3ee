"""Rejected events, from the command line."""

import base64
import sys

import click

from loader.cli_options import connected, json_option
from loader.config import Settings
from loader.ledger import prepared
from loader.output import print_json, print_table
from loader.rejects import list_rejects, read_reject


@click.group(epilog="\b\nExamples:\n  selligent-loader rejects list\n  selligent-loader rejects show 17")
def rejects() -> None:
    """What could not be loaded, and why."""


@rejects.command("list")
@click.option("--limit", default=20, type=click.IntRange(1), show_default=True, help="How many, the newest first.")
@connected
@json_option
def list_command(settings: Settings, as_json: bool, limit: int) -> None:
    """List rejected events, the newest first."""
    with prepared(settings) as warehouse:
        found = list_rejects(warehouse, limit)
    if as_json:
        print_json({"rejects": found})
    elif found:
        print_table("", found)
    else:
        print("no event has been rejected")


@rejects.command("show")
@click.argument("rejected_id", metavar="ID", type=int)
@connected
@json_option
def show_command(settings: Settings, as_json: bool, rejected_id: int) -> None:
    """Show one: the reason on standard error, the bytes as they came on standard output."""
    with prepared(settings) as warehouse:
        found, raw = read_reject(warehouse, rejected_id)
    if as_json:
        print_json({**found, "raw_base64": base64.b64encode(raw).decode(), "raw": raw.decode("utf-8", "replace")})
        return
    for name, value in found.items():
        print(f"{name}: {value}", file=sys.stderr)
    sys.stdout.buffer.write(raw + b"\n" * sys.stdout.isatty())
