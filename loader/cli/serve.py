"""The command `serve`."""

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
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 listens on all.")
@click.option("--port", default=8080, type=click.IntRange(1, 65535), show_default=True, help="Port to listen on.")
@click.option("--database-url", metavar="URL", help="Database URL; default SELLIGENT_DATABASE_URL or DATABASE_URL.")
@click.option("--schema", "schemas", metavar="NAME", multiple=True, help="Schema of a source; can be repeated.")
@click.option(
    "--spool",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for received events, on a local disk.  [default: in your data folder, or SELLIGENT_HOME]",
)
@click.option(
    "--spool-limit",
    default="10GB",
    type=Size(),
    show_default=True,
    help="Maximum size of events that wait to be loaded.",
)
@click.option("--load-every", default="60s", type=Duration(), show_default=True, help="How often to load events.")
@click.option(
    "--refresh-every",
    default="5min",
    type=Duration(),
    show_default=True,
    help="How often to refresh the figures behind the views; 0s: with each load.",
)
@click.option("--no-load", is_flag=True, help="Only receive events; load them with `load SPOOL/SCHEMA`.")
@click.option(
    "--keep", default="30d", type=Duration(), show_default=True, help="How long to keep the files of loaded events."
)
@click.option("--forward", is_flag=True, help="Forward events to the integrations too, as `forward` does.")
@click.option(
    "--rate",
    default=20_000,
    type=click.FloatRange(0),
    show_default=True,
    help="Events per second for each key; 0 is no limit.",
)
@click.option("--tls-cert", type=click.Path(path_type=Path), help="Certificate in PEM format; needs --tls-key.")
@click.option("--tls-key", type=click.Path(path_type=Path), help="Private key of the certificate, in PEM format.")
@click.option(
    "--trusted-proxy",
    "proxies",
    metavar="ADDRESS",
    multiple=True,
    help="Address or network of a proxy whose X-Forwarded-For header is trusted; can be repeated.",
)
@click.option("--verbose", is_flag=True, help="Log more to standard error.")
def serve_command(database_url: str | None, schemas: tuple[str, ...], verbose: bool, **values: Any) -> None:
    """Receive events over HTTP and load them at intervals.

    Implements Segment's tracking API. A request is answered once its events are on disk.
    """
    from loader.endpoint.limits import ServeOptions
    from loader.endpoint.server import serve

    logs.configure(logs.Style(verbose=verbose))
    certificate, key = values.pop("tls_cert"), values.pop("tls_key")
    if (certificate is None) != (key is None):
        raise click.UsageError("--tls-cert and --tls-key must be given together")
    if values["load_every"] < timedelta(seconds=1):
        raise click.UsageError("--load-every must be at least 1s; use --no-load to load nothing")
    values["spool"] = values["spool"] or home() / "spool"
    values["is_loading"] = not values.pop("no_load")
    values["is_forwarding"] = values.pop("forward")
    plan = ServeOptions(**values, tls=(certificate, key) if certificate else None)
    serve([settings(database_url, schema) for schema in dict.fromkeys(schemas or (None,))], plan)
