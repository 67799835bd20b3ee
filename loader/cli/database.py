"""The commands `db`, for the embedded server, and `sample`, which writes sample events."""

import sys
from datetime import UTC, datetime, timedelta

import click

from loader.config import home
from loader.errors import WarehouseError
from loader.postgres import embedded
from loader.sample import ndjson
from loader.sample.site import script as site_script


@click.group(
    epilog="\b\nExamples:\n  selligent-loader db start\n  selligent-loader db psql -- -c 'table selligent.campaigns'"
)
def db() -> None:
    """Manage the embedded PostgreSQL server.

    It accepts connections from this machine only, and stores its data in SELLIGENT_HOME.
    """


@db.command()
def start() -> None:
    """Start the server; it keeps running in the background."""
    server = embedded.start(home())
    print(f"PostgreSQL runs on {server.host}:{server.port}, database {embedded.DATABASE}, user postgres")
    print("`selligent-loader db url` prints its URL with the password, `selligent-loader db psql` opens psql")


@db.command()
def stop() -> None:
    """Stop the server."""
    print("stopped" if embedded.stop(home()) else "it was not running")


@db.command()
def url() -> None:
    """Print the URL of the database, password included."""
    print(_running().url)


@db.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def psql(arguments: tuple[str, ...]) -> None:
    """Open psql; ARGUMENTS are passed to it."""
    sys.stdout.flush()
    embedded.psql(_running(), arguments)


def _running() -> embedded.Server:
    server = embedded.running(home())
    if server is None:
        raise WarehouseError("the embedded server is not running; start it with `selligent-loader db start`")
    return server


@click.command(
    "sample",
    epilog="\b\nExamples:\n  selligent-loader sample --events 1000000 --out events.jsonl\n"
    "  selligent-loader sample --site --out site.sql && selligent-loader db psql -- -q -f site.sql",
)
@click.option("--events", default=100_000, type=click.IntRange(0), show_default=True, help="Number of lines.")
@click.option("--seed", default=1, type=int, show_default=True, help="The same seed and last day give the same bytes.")
@click.option(
    "--until", metavar="DATE", type=click.DateTime(["%Y-%m-%d"]), help="Last day of the year; default yesterday."
)
@click.option("--site", is_flag=True, help="Write the site's data of the same people instead, as a psql script.")
@click.option("--site-schema", default="site", show_default=True, help="Schema that the psql script creates.")
@click.option("--out", default="-", type=click.Path(dir_okay=False), help="File to write; - is standard output.")
def sample_command(  # noqa: PLR0913
    events: int, seed: int, until: datetime | None, *, site: bool, site_schema: str, out: str
) -> None:
    """Write sample events: one year of a mid-size sender."""
    day = (until or datetime.now(UTC) - timedelta(days=1)).date()
    with click.open_file(out, "wb") as stream:
        for block in site_script(events, seed, site_schema, day) if site else ndjson.lines(events, seed, day):
            stream.write(block)
