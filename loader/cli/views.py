"""Commands for the views: settings, refresh, grant, dictionary."""

from functools import partial

import click

from loader.cli.options import GroupThatLists, connection_options, json_option
from loader.config import Settings
from loader.reports.dictionary import as_html, as_markdown, read_dictionary
from loader.schema.source import open_warehouse
from loader.terminal.output import print_json
from loader.terminal.status import print_settings
from loader.views.definitions import grant
from loader.views.personal_data import grant_without_personal_data
from loader.views.refresh import refresh
from loader.views.settings import change_setting, read_settings


@click.group(
    "settings",
    cls=GroupThatLists,
    epilog="\b\nExamples:\n  selligent-loader settings\n"
    "  selligent-loader settings set reporting_time_zone Europe/Brussels",
)
def settings_group() -> None:
    """Show and change the settings of the views.

    These are thresholds, attribution windows, the reporting time zone and schemas, and for loads the difference of
    clocks by which times are corrected. `settings` alone is `settings list`.
    """


@settings_group.command("list")
@connection_options
@json_option
def list_command(settings: Settings, as_json: bool) -> None:
    """List all settings."""
    with open_warehouse(settings) as warehouse:
        found = read_settings(warehouse.fetch, warehouse.schema)
    print_json({"settings": found}) if as_json else print_settings(found)


@settings_group.command("set")
@click.argument("name")
@click.argument("value")
@connection_options
def set_command(settings: Settings, name: str, value: str) -> None:
    """Change a setting, and refresh all figures that depend on it."""
    with open_warehouse(settings) as warehouse:
        change_setting(warehouse, name, value)
    refresh(settings, report=partial(click.echo, err=True))
    print(f"{name} is now {value!r}, and the views are up to date")


@click.command("refresh", epilog="\b\nExample:\n  selligent-loader refresh")
@click.option("--rebuild", is_flag=True, help="Recompute all figures.")
@click.option("--full", is_flag=True, help="Compare all of the site's rows and count all events, not only new ones.")
@connection_options
@json_option
def refresh_command(settings: Settings, as_json: bool, rebuild: bool, full: bool) -> None:
    """Update the stored figures behind the views.

    Includes new events and the site's data. A load does this by itself. --full also finds what the look-back of the
    site's data misses, and events that others have added or deleted; run it once a week.
    """
    events = refresh(settings, rebuild=rebuild, full=full)
    print_json({"events": events}) if as_json else print(f"the views are up to date, {events:,} events are new")


@click.command(
    "grant",
    epilog="\b\nExamples:\n  selligent-loader grant analysts bi_tool\n"
    "  selligent-loader grant --no-personal-data agency",
)
@click.argument("roles", metavar="ROLE...", nargs=-1, required=True)
@click.option(
    "--no-personal-data",
    is_flag=True,
    help="Only columns without addresses, ids, IPs and free texts; run it again for tables and views added later.",
)
@connection_options
def grant_command(settings: Settings, roles: tuple[str, ...], no_personal_data: bool) -> None:
    """Let roles read the schema, also tables and views added later.

    With --no-personal-data they read the views, and the documented columns of the tables, without personal data.
    """
    with open_warehouse(settings) as warehouse:
        if no_personal_data:
            grant_without_personal_data(warehouse, settings, roles)
            print(f"{', '.join(roles)} can read schema {settings.schema!r} without personal data")
            return
        grant(warehouse, roles)
    print(f"{', '.join(roles)} can read schema {settings.schema!r}, also tables and views added later")


@click.command(
    "dictionary",
    epilog="\b\nExamples:\n  selligent-loader dictionary --format html > dictionary.html\n"
    "  selligent-loader dictionary --format dbt > models/sources.yml",
)
@click.option(
    "--format",
    "kind",
    type=click.Choice(["markdown", "html", "dbt"]),
    default="markdown",
    show_default=True,
    help="Markdown, an HTML page, or dbt's sources.yml with types, tests and freshness.",
)
@click.option("--html", "is_html", is_flag=True, help="The same as --format html.")
@connection_options
def dictionary_command(settings: Settings, kind: str, *, is_html: bool) -> None:
    """Print the data dictionary.

    It lists every table, view and column with its meaning.
    """
    with open_warehouse(settings) as warehouse:
        relations = read_dictionary(warehouse)
    if is_html or kind == "html":
        text = as_html(relations)
    elif kind == "dbt":
        from loader.bi.dbt import as_dbt

        text = as_dbt(settings.schema, relations)
    else:
        text = as_markdown(relations)
    print(text, end="")
