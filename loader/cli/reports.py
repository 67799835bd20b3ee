"""The command `report`."""

import webbrowser
from datetime import datetime
from pathlib import Path

import click

from loader.cli.options import connection_options
from loader.config import Settings
from loader.errors import UsageError
from loader.reports.page.figures import Scope, read_figures
from loader.schema.source import open_warehouse

_DAY = click.DateTime(["%Y-%m-%d"])


@click.command(
    "report",
    epilog="\b\nExamples:\n  selligent-loader report --open\n"
    "  selligent-loader report --from 2025-10-01 --to 2025-12-31 --locale fr_BE --out q4.html\n"
    "  selligent-loader report --campaign 10412 --days 365",
)
@click.option("--from", "first", metavar="DATE", type=_DAY, help="First day of the period.")
@click.option("--to", "last", metavar="DATE", type=_DAY, help="Last day; default the last whole day with e-mails.")
@click.option("--days", type=click.IntRange(1, 3660), help="Number of days up to the last one; default 90.")
@click.option("--campaign", metavar="ID", help="Report one campaign instead of all.")
@click.option("--locale", metavar="NAME", default="en_GB", show_default=True, help="How numbers and dates are written.")
@click.option(
    "--out",
    default="report.html",
    type=click.Path(dir_okay=False),
    show_default=True,
    help="File to write; - is standard output.",
)
@click.option("--open", "shall_open", is_flag=True, help="Open the file in the browser.")
@connection_options
def report_command(  # noqa: PLR0913
    settings: Settings,
    first: datetime | None,
    last: datetime | None,
    *,
    days: int | None,
    campaign: str | None,
    locale: str,
    out: str,
    shall_open: bool,
) -> None:
    """Write a report of the e-mails as one HTML page.

    The page has no script and fetches nothing, so it can be mailed and archived. Its days are those of the setting
    reporting_time_zone, and its figures those of the views.
    """
    from loader.reports.page.html import write_page  # imports Babel

    if first and days:
        raise UsageError("--from and --days contradict each other; give one of them")
    if shall_open and out == "-":
        raise UsageError("--open needs a file; leave out `--out -`")
    scope = Scope(first and first.date(), last and last.date(), days or 90, campaign)
    with open_warehouse(settings) as warehouse:
        figures = read_figures(warehouse, scope)
    page = write_page(figures, locale)
    with click.open_file(out, "w", encoding="utf-8") as stream:
        stream.write(page)
    if out != "-":
        click.echo(f"{out} reports {figures.period.first} to {figures.period.last}")
        if shall_open:
            webbrowser.open(Path(out).resolve().as_uri())
