"""The commands `report`, `export` and `bi`."""

import webbrowser
from datetime import datetime
from pathlib import Path

import click

from loader.cli.options import connection_options, json_option
from loader.config import Settings
from loader.errors import UsageError
from loader.reports.dictionary import read_dictionary
from loader.reports.page.figures import Scope, read_figures
from loader.schema.source import open_warehouse
from loader.terminal.output import print_json

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


@click.command(
    "export",
    epilog="\b\nExamples:\n  selligent-loader export campaigns --out campaigns.xlsx\n"
    "  selligent-loader export email_events --out events.parquet\n"
    "  selligent-loader export campaign_days --out - --exact | head",
)
@click.argument("view")
@click.option("--out", metavar="FILE", required=True, help="File that ends with .csv, .parquet or .xlsx; - is CSV.")
@click.option(
    "--exact", is_flag=True, help="Leave texts of a CSV file that spreadsheets take for formulas as they are."
)
@connection_options
@json_option
def export_command(settings: Settings, view: str, out: str, *, exact: bool, as_json: bool) -> None:
    """Write a view or table to a CSV, Parquet or Excel file.

    Times are in UTC. In a CSV file a text that begins like a formula gets an apostrophe, because events may have such
    texts from strangers.
    """
    from loader.bi.export import export_relation

    with open_warehouse(settings) as warehouse:
        rows = export_relation(warehouse, view, out, is_exact=exact)
    if as_json:
        print_json({"file": out, "rows": rows})
    elif out != "-":
        print(f"{out} has {rows:,} rows")


@click.group("bi", epilog="\b\nExample:\n  selligent-loader bi superset --out selligent.zip")
def bi_group() -> None:
    """Write datasets, charts and dashboards for BI tools."""


@bi_group.command("superset", epilog="\b\nExample:\n  selligent-loader bi superset --out selligent.zip --role bi_tool")
@click.option("--out", metavar="FILE", required=True, type=click.Path(dir_okay=False), help="ZIP file to write.")
@click.option("--database-name", default="Selligent", show_default=True, help="Name of the database in Superset.")
@click.option("--role", default="bi_tool", show_default=True, help="Role by which Superset connects; it needs `grant`.")
@connection_options
def superset_command(settings: Settings, out: str, database_name: str, role: str) -> None:
    """Write a dashboard with its datasets as a ZIP file for Superset.

    Superset asks for the role's password at the import; the file has none. Several schemas and databases can be
    imported side by side.
    """
    from loader.bi.superset import read_source, write_superset

    with open_warehouse(settings) as warehouse:
        source, relations = read_source(warehouse, database_name, role), read_dictionary(warehouse)
    with click.open_file(out, "wb", atomic=True) as stream:
        stream.write(write_superset(source, relations))
    print(f"{out} is written; import it in Superset under Dashboards, and enter the password of {role}")
