"""The command `integrations`. Forwarding is imported on use, because of libraries that other commands do not need."""

import sys
from pathlib import Path
from typing import Any

import click

from loader.cli.forward import failed_command, replay_command
from loader.cli.options import Duration, Size, connection_options, json_option
from loader.config import Settings
from loader.errors import LoaderError, UsageError
from loader.schema.source import open_warehouse
from loader.terminal.output import print_json, print_rows
from loader.terminal.status import INTEGRATIONS

#: What `list` shows as text; `list --json` has all.
LISTED = (
    *("name", "kind", "status", "events_delivered", "lag_events", "lag_seconds", "undelivered_now"),
    *("failing_since", "error"),
)
name_argument = click.argument("name", metavar="NAME")


@click.group(
    epilog="\b\nExamples:\n  selligent-loader integrations add webhook --set url=https://example.com/events "
    "--secret-file secret\n  selligent-loader integrations test webhook\n  selligent-loader integrations list"
)
def integrations() -> None:
    """Manage the systems that events are forwarded to."""


@integrations.command("add")
@click.argument("kind", metavar="KIND")
@click.option("--name", help="Name of the integration.  [default: KIND]")
@click.option("--set", "pairs", metavar="NAME=VALUE", multiple=True, help="A setting; can be repeated.")
@click.option("--secret-from-stdin", is_flag=True, help="Read the secret from standard input.")
@click.option("--secret-file", type=click.Path(dir_okay=False, path_type=Path), help="Read the secret from a file.")
@click.option(
    "--mapping",
    type=click.Path(dir_okay=False, path_type=Path),
    help="TOML file that selects and renames events and properties.",
)
@click.option("--send-personal-data", is_flag=True, help="Send e-mail addresses, IP addresses and user agents too.")
@click.option("--allow-http", is_flag=True, help="Allow URLs without encryption.")
@click.option("--allow-private", is_flag=True, help="Allow private addresses, for example of this machine.")
@click.option(
    "--retry-for", default="24h", type=Duration(), show_default=True, help="How long to try to deliver a batch."
)
@click.option(
    "--backlog-limit",
    default="10GB",
    type=Size(),
    show_default=True,
    help="Maximum size of the files that are kept until their events are forwarded.",
)
@connection_options
def add_command(  # noqa: PLR0913
    *,
    settings: Settings,
    kind: str,
    name: str | None,
    pairs: tuple[str, ...],
    secret_from_stdin: bool,
    secret_file: Path | None,
    mapping: Path | None,
    **options: Any,
) -> None:
    """Add an integration.

    Events that are received from now on are forwarded to it. KIND is one of those that `integrations kinds` lists. The
    secret is stored encrypted and never shown.
    """
    from loader.forwarding.configuration import NewIntegration, add_integration

    new = NewIntegration(
        name or kind,
        kind,
        dict(_split_pair(pair) for pair in pairs),
        _read_secret(secret_file, is_from_stdin=secret_from_stdin),
        _read_file(mapping) if mapping else None,
        **options,
    )
    with open_warehouse(settings) as warehouse:
        add_integration(warehouse, new)
    print(f"integration {new.name} is added; `selligent-loader integrations test {new.name}` shows what it sends")


def _split_pair(pair: str) -> tuple[str, str]:
    name, equals, value = pair.partition("=")
    if not equals:
        raise click.BadParameter("write --set name=value")
    return name, value


def _read_secret(path: Path | None, *, is_from_stdin: bool) -> str:
    if path and is_from_stdin:
        raise click.UsageError("--secret-from-stdin and --secret-file exclude each other")
    if is_from_stdin and sys.stdin.isatty():
        return str(click.prompt("secret", hide_input=True))
    text = _read_file(path) if path else sys.stdin.read() if is_from_stdin else ""
    return text.strip()


def _read_file(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        problem = getattr(exc, "strerror", None) or "it is not UTF-8"
        raise UsageError(f"{str(path)!r} cannot be read: {problem}") from exc


@integrations.command("kinds")
@json_option
def kinds_command(as_json: bool) -> None:
    """List the kinds of integrations with their settings."""
    from loader.integrations.registry import find_kind, kinds

    rows = [
        {
            "kind": name,
            "setting": setting.name,
            "default": "(needed)" if setting.default is None else setting.default,
            "choices": ", ".join(setting.choices),
            "help": setting.help,
        }
        for name in kinds()
        for setting in find_kind(name).settings
    ]
    secrets = [
        {
            "kind": name,
            "setting": "secret",
            "default": "(optional)" if secret.is_optional else "(needed)",
            "choices": "",
            "help": secret.help,
        }
        for name in kinds()
        if (secret := find_kind(name).secret)
    ]
    print_rows("kinds", sorted([*rows, *secrets], key=lambda row: row["kind"]), as_json=as_json)


@integrations.command("list")
@connection_options
@json_option
def list_command(settings: Settings, as_json: bool) -> None:
    """List the integrations with their state."""
    from loader.monitoring.forwarding_state import read_states

    with open_warehouse(settings) as warehouse:
        found = read_states(warehouse)
    if not as_json:
        found = [{name: row[name] for name in LISTED} for row in found]
    print_rows(
        "integrations",
        found,
        as_json=as_json,
        nothing="no integration exists; `selligent-loader integrations add` adds one",
        layout=INTEGRATIONS,
    )


@integrations.command("show")
@name_argument
@connection_options
@json_option
def show_command(settings: Settings, as_json: bool, name: str) -> None:
    """Show the configuration of an integration, without its secret."""
    from loader.forwarding.configuration import find_integration

    with open_warehouse(settings) as warehouse:
        found = find_integration(warehouse, name).describe()
    if as_json:
        print_json(found)
        return
    for key, value in found.items():
        print(f"{key.replace('_', ' '):<20} {'' if value is None else value}")


@integrations.command("test")
@name_argument
@click.option("--event", "path", type=click.Path(dir_okay=False, path_type=Path), help="File with an event as JSON.")
@click.option("--send", is_flag=True, help="Send the request too, and print the answer.")
@connection_options
@click.pass_context
def test_command(context: click.Context, /, *, settings: Settings, name: str, path: Path | None, send: bool) -> None:
    """Print the request for a sample event, without secrets.

    It is sent only with --send.
    """
    from loader.forwarding.configuration import find_integration
    from loader.forwarding.preview import preview_event, sample_event, send_event

    with open_warehouse(settings) as warehouse:
        configuration = find_integration(warehouse, name)
    line = _read_file(path).encode() if path else sample_event(reads_site=configuration.reads_site)
    print(preview_event(configuration, line))
    if send:
        is_delivered, answer = send_event(configuration, line)
        print(f"\n{answer}")
        context.exit(0 if is_delivered else LoaderError.exit_code)


@integrations.command("pause")
@name_argument
@connection_options
def pause_command(settings: Settings, name: str) -> None:
    """Stop forwarding to an integration within seconds.

    Its events stay in the spool as long as `serve --keep` says, and are forwarded after `resume`.
    """
    from loader.forwarding.configuration import set_status

    with open_warehouse(settings) as warehouse:
        set_status(warehouse, name, "paused")
    print(f"integration {name} is paused")


@integrations.command("resume")
@name_argument
@connection_options
def resume_command(settings: Settings, name: str) -> None:
    """Continue forwarding where it was paused."""
    from loader.forwarding.configuration import set_status

    with open_warehouse(settings) as warehouse:
        set_status(warehouse, name, "enabled")
    print(f"integration {name} is enabled")


@integrations.command("remove")
@name_argument
@connection_options
def remove_command(settings: Settings, name: str) -> None:
    """Remove an integration.

    Its secret, its position and its undelivered events are removed too.
    """
    from loader.forwarding.configuration import remove_integration

    with open_warehouse(settings) as warehouse:
        remove_integration(warehouse, name)
    print(f"integration {name} is removed")


integrations.add_command(replay_command)
integrations.add_command(failed_command)
