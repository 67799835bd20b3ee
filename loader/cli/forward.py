"""The command `forward`."""

import signal
from pathlib import Path

import click

from loader.cli.options import connection_options
from loader.config import Settings, home
from loader.errors import LoaderError


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
@connection_options
@click.pass_context
def forward_command(
    context: click.Context, /, *, settings: Settings, spool: Path | None, once: bool, notify: str | None
) -> None:
    """Forward received events to the integrations of a source.

    Runs beside `serve`, or inside it with `serve --forward`. Only one process forwards the events of a source; a second
    one waits until the first has ended.
    """
    from loader.forwarding.clock import Clock
    from loader.forwarding.supervisor import forward
    from loader.monitoring.incidents import describe_place
    from loader.monitoring.webhook import check_url, post

    clock = Clock()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: clock.stop())
    url = notify and check_url(notify)

    def send(message: str) -> bool:
        return post(url, describe_place(settings, message)) if url else True

    if not forward(settings, spool or home() / "spool", clock, send, once=once) and not clock.is_stopped:
        context.exit(LoaderError.exit_code)
