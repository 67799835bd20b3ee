"""The commands `keys` and `sources`, and the overview of a source that `init` prints."""

import sys
from typing import Any

import click

from loader.cli.options import GroupThatLists, connection_options, json_option
from loader.config import Settings
from loader.endpoint.write_keys import create_key, import_key, list_keys, revoke_key
from loader.schema.source import list_sources, name_source, open_warehouse
from loader.terminal.output import print_json, print_rows

ENDPOINT = "http://127.0.0.1:8080"


@click.group(
    epilog="\b\nExamples:\n  selligent-loader keys create --label Selligent\n  selligent-loader keys revoke 1\n"
    "  selligent-loader keys import < key.txt"
)
def keys() -> None:
    """Manage the write keys of the endpoint."""


label_option = click.option("--label", default="Selligent", show_default=True, help="Who sends with the key.")


origin_option = click.option(
    "--allow-origin",
    "origins",
    metavar="ORIGIN",
    multiple=True,
    help="Origin of web pages that send with the key, for example https://example.com; can be repeated.",
)


site_option = click.option(
    "--site",
    "is_site",
    is_flag=True,
    help="For the company's own site and apps: calls go to integrations such as `selligent`, and to no table.",
)


@keys.command(
    "create",
    epilog="\b\nExamples:\n  selligent-loader keys create --label 'Selligent, test'\n"
    "  selligent-loader keys create --site --label Website --allow-origin https://example.com",
)
@label_option
@origin_option
@site_option
@connection_options
@json_option
def create_command(*, settings: Settings, as_json: bool, label: str, origins: tuple[str, ...], is_site: bool) -> None:
    """Create a key and print it. Only its hash is stored; the key cannot be shown again."""
    with open_warehouse(settings) as warehouse:
        key = create_key(warehouse, label, origins, is_site=is_site)
    print_json({"label": label, "write_key": key}) if as_json else print(key)


@keys.command("import", epilog="\b\nExample:\n  selligent-loader keys import --label Selligent < key.txt")
@label_option
@origin_option
@site_option
@click.option("--also", is_flag=True, help="Import a key of another source too; its events go to both sources.")
@connection_options
@json_option
def import_command(  # noqa: PLR0913
    *, settings: Settings, as_json: bool, label: str, origins: tuple[str, ...], is_site: bool, also: bool
) -> None:
    """Import a key from standard input.

    A sender that already uses the key needs no change. A key that is valid for another source of the database is
    refused without --also.
    """
    key = sys.stdin.readline().strip()
    with open_warehouse(settings) as warehouse:
        key_id = import_key(warehouse, key, label, origins, is_shared=also, is_site=is_site)
    print_json({"key_id": key_id, "label": label}) if as_json else print(f"key {key_id} ({label}) is valid")


@keys.command("list", epilog="\b\nExample:\n  selligent-loader keys list --json")
@connection_options
@json_option
def list_command(settings: Settings, as_json: bool) -> None:
    """List all keys by number and label, without the keys themselves."""
    with open_warehouse(settings) as warehouse:
        found = list_keys(warehouse)
    print_rows(
        "keys", found, as_json=as_json, nothing="no write key exists; create one with `selligent-loader keys create`"
    )


@keys.command("revoke", epilog="\b\nExample:\n  selligent-loader keys revoke 1")
@click.argument("key_id", metavar="ID", type=int)
@connection_options
def revoke_command(settings: Settings, key_id: int) -> None:
    """Revoke a key; servers refuse it within 10 seconds."""
    with open_warehouse(settings) as warehouse:
        label = revoke_key(warehouse, key_id)
    print(f"key {key_id} ({label}) is revoked")


@click.group("sources", cls=GroupThatLists, epilog="\b\nExample:\n  selligent-loader sources")
def sources() -> None:
    """List the sources in the database.

    `sources` alone is `sources list`.
    """


@sources.command("list", epilog="\b\nExample:\n  selligent-loader sources list --json")
@connection_options
@json_option
def sources_list_command(settings: Settings, as_json: bool) -> None:
    """List all sources.

    Shows nickname, schema, number of keys, the key used last and by which client, and the newest event.
    """
    with open_warehouse(settings) as warehouse:
        found = list_sources(warehouse)
    print_rows("sources", found, as_json=as_json)


def create_source(settings: Settings, nickname: str, endpoint: str) -> dict[str, Any]:
    """Set the nickname of a source and create a key if it has no valid one; return the overview to print."""
    with open_warehouse(settings) as warehouse:
        name_source(warehouse, nickname)
        has_key = any(key["revoked_at"] is None for key in list_keys(warehouse))
        key = None if has_key else create_key(warehouse, nickname)
    return {"nickname": nickname, "schema": settings.schema, "endpoint": endpoint, "write_key": key}


def print_overview(overview: dict[str, Any]) -> None:
    """Print what Selligent's account manager needs, and the next step."""
    shown = "shown when it was created; `selligent-loader keys create` creates another one"
    key = overview["write_key"]
    for name, value in (overview | {"write_key": key or shown}).items():
        print(f"{name.replace('_', ' '):<10}  {value}")
    if key:
        print(
            "\nCopy the write key now, it is not shown again. Write to your Selligent account manager:\n"
            f"  Please send our e-mail events to {overview['endpoint']} through Segment's tracking API,\n"
            f"  with the write key {key}."
        )
    print(f"\nnext: selligent-loader serve --schema {overview['schema']}")
