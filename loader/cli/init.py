"""The commands `init` and `migrate`, which prepare a database and upgrade it."""

from typing import Any

import click

from loader.cli.keys import ENDPOINT, create_source, print_overview
from loader.cli.options import connection_options, json_option
from loader.config import Settings
from loader.migrate import migrate
from loader.terminal.output import print_json

segment_option = click.option(
    "--segment-schema",
    "sites",
    metavar="NAME",
    multiple=True,
    help="Schema with the site's Segment data, stored as a setting; can be repeated.",
)

distributed_option = click.option(
    "--distributed",
    "is_distributed",
    is_flag=True,
    help="Distribute the event tables over the workers of a Citus cluster; needed once.",
)


@click.command(
    "init",
    epilog="\b\nExamples:\n  selligent-loader init\n  selligent-loader init --segment-schema site\n"
    "  selligent-loader init --nickname Selligent --endpoint https://events.example.com",
)
@segment_option
@distributed_option
@click.option("--nickname", help="Display name of the source; also prints what Selligent needs to send events here.")
@click.option("--endpoint", metavar="URL", default=ENDPOINT, show_default=True, help="Public URL of `serve`.")
@connection_options
@json_option
def init_command(  # noqa: PLR0913, PLR0917
    settings: Settings,
    as_json: bool,
    sites: tuple[str, ...],
    is_distributed: bool,
    nickname: str | None,
    endpoint: str,
) -> None:
    """Prepare a database: schemas, tables and views. Safe to repeat."""
    done = _migrate(settings, sites, is_distributed)
    overview = create_source(settings, nickname, endpoint) if nickname else {}
    if as_json:
        print_json(done | overview)
        return
    _print_migrated(done)
    print_overview(overview) if overview else print("next: selligent-loader load PATH")


@click.command("migrate", epilog="\b\nExample:\n  selligent-loader migrate")
@segment_option
@distributed_option
@connection_options
@json_option
def migrate_command(settings: Settings, as_json: bool, sites: tuple[str, ...], is_distributed: bool) -> None:
    """Bring the schema and the views up to date.

    Includes new tables of the site's data, and refreshes the stored figures.
    """
    done = _migrate(settings, sites, is_distributed)
    print_json(done) if as_json else _print_migrated(done)


def _migrate(settings: Settings, sites: tuple[str, ...], is_distributed: bool) -> dict[str, Any]:
    before, after = migrate(settings, sites, is_distributed=is_distributed)
    return {"schema": settings.schema, "from": before, "to": after}


def _print_migrated(done: dict[str, Any]) -> None:
    before, after = done["from"], done["to"]
    change = "is up to date" if before == after else f"is upgraded from version {before} to {after}"
    print(f"schema {done['schema']!r} {change if before else f'is created, version {after}'}")
