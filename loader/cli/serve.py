"""The endpoint, from the command line."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from loader import logs
from loader.cli.options import Duration, Size
from loader.config import home, settings


@click.command(
    "serve",
    epilog="\b\nExamples:\n  selligent-loader serve\n  selligent-loader serve --schema selligent --schema other\n"
    "  selligent-loader serve --host 0.0.0.0 --port 443 --tls-cert cert.pem --tls-key key.pem",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 is all of them.")
@click.option("--port", default=8080, type=click.IntRange(1, 65535), show_default=True, help="Port to listen on.")
@click.option("--database-url", metavar="URL", help="Database; else SELLIGENT_DATABASE_URL, DATABASE_URL.")
@click.option("--schema", "schemas", metavar="NAME", multiple=True, help="Schema of a source; several are possible.")
@click.option(
    "--spool",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder where events wait, on a disk of this machine.  [default: in your data folder, or SELLIGENT_HOME]",
)
@click.option("--spool-limit", default="10GB", type=Size(), show_default=True, help="No events beyond these that wait.")
@click.option("--load-every", default="60s", type=Duration(), show_default=True, help="How often events are loaded.")
@click.option("--no-load", is_flag=True, help="Only receive; `load SPOOL/SCHEMA` loads, by night for instance.")
@click.option("--keep", default="30d", type=Duration(), show_default=True, help="How long loaded events are kept.")
@click.option(
    "--rate",
    default=20_000,
    type=click.FloatRange(0),
    show_default=True,
    help="Events a second for a key; 0: no limit.",
)
@click.option("--tls-cert", type=click.Path(path_type=Path), help="Certificate, PEM; needs --tls-key too.")
@click.option("--tls-key", type=click.Path(path_type=Path), help="Its private key, PEM.")
@click.option(
    "--trusted-proxy",
    "proxies",
    metavar="ADDRESS",
    multiple=True,
    help="Proxy, or network of them, that knows the client's address.",
)
@click.option("--verbose", is_flag=True, help="Say more on standard error.")
def serve_command(database_url: str | None, schemas: tuple[str, ...], verbose: bool, **how: Any) -> None:
    """Take events by Segment's tracking API, keep them on disk, and load them again and again."""
    from loader.endpoint.limits import ServeOptions as Plan
    from loader.endpoint.server import serve

    logs.configure(logs.Style(verbose=verbose))
    certificate, key = how.pop("tls_cert"), how.pop("tls_key")
    if (certificate is None) != (key is None):
        raise click.UsageError("--tls-cert and --tls-key belong together")
    if how["load_every"] < timedelta(seconds=1):
        raise click.UsageError("--load-every needs at least 1s; --no-load loads nothing")
    how["spool"] = how["spool"] or home() / "spool"
    how["is_loading"] = not how.pop("no_load")
    plan = Plan(**how, tls=(certificate, key) if certificate else None)
    serve([settings(database_url, schema) for schema in dict.fromkeys(schemas or (None,))], plan)
