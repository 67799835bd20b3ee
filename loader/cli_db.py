"""The embedded server, from the command line."""

import sys

import click

from loader import embedded
from loader.errors import WarehouseError


@click.group(
    epilog="\b\nExamples:\n  selligent-loader db start\n  selligent-loader db psql -- -c 'table selligent.campaigns'"
)
def db() -> None:
    """The embedded PostgreSQL: for this machine only, its data in SELLIGENT_HOME."""


@db.command()
def start() -> None:
    """Start it, and keep it running."""
    server = embedded.start(embedded.home())
    print(f"PostgreSQL runs on {server.host}:{server.port}, database {embedded.DATABASE}, user postgres")
    print("`selligent-loader db url` gives its address with the password, `selligent-loader db psql` a prompt")


@db.command()
def stop() -> None:
    """Stop it."""
    print("stopped" if embedded.stop(embedded.home()) else "it was not running")


@db.command()
def url() -> None:
    """Print its address, password included."""
    print(_running().url)


@db.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def psql(arguments: tuple[str, ...]) -> None:
    """Open a prompt; ARGUMENTS go to psql."""
    sys.stdout.flush()
    embedded.psql(_running(), arguments)


def _running() -> embedded.Server:
    server = embedded.running(embedded.home())
    if server is None:
        raise WarehouseError("the embedded server does not run; start it with `selligent-loader db start`")
    return server
