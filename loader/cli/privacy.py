"""The command `privacy`."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from loader.cli.options import connection_options, json_option
from loader.config import Settings, home
from loader.errors import UsageError
from loader.pipeline.suppression import change_list, list_suppressed
from loader.privacy.erase import Erasure, ErasureOptions, erase, plan_erasure
from loader.privacy.log import list_erasures, read_certificate
from loader.privacy.report import report_files, report_tables
from loader.privacy.retention import apply_policy, read_policy, set_policy
from loader.privacy.subjects import Subject, read_subject, read_subjects
from loader.schema.source import open_warehouse
from loader.terminal.output import print_json, print_rows
from loader.terminal.tables import print_table


@click.group(
    epilog="\b\nExamples:\n  selligent-loader privacy erase --email anna@example.com --dry-run\n"
    "  selligent-loader privacy erase --user-id 42 --yes --certificate 42.json\n"
    "  selligent-loader privacy suppress add --email anna@example.com\n"
    "  selligent-loader privacy retain --events 25months --raw 30days --rejects 90days"
)
def privacy() -> None:
    """Erase and suppress people, delete what is old, report it."""


_user_id = click.option("--user-id", metavar="ID", help="The person's user id.")
_email = click.option("--email", metavar="ADDRESS", help="An e-mail address of the person.")
_spool = click.option(
    "--spool",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of received events.  [default: in your data folder, or SELLIGENT_HOME]",
)


@privacy.command("erase")
@_user_id
@_email
@click.option(
    "--file",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="CSV with the columns user_id, email or both.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be removed, and change nothing.")
@click.option("--anonymize", is_flag=True, help="Keep the events, with a random token instead of the person.")
@click.option("--only-exact", is_flag=True, help="Leave out addresses that others share, unless they are asked for.")
@click.option("--include-shared", is_flag=True, help="Erase the others too who share an address with the person.")
@click.option("--certificate", type=click.Path(dir_okay=False, path_type=Path), help="Write a certificate, as JSON.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_spool
@connection_options
@json_option
def erase_command(settings: Settings, as_json: bool, path: Path | None, spool: Path | None, **given: Any) -> None:
    """Erase a person.

    Removes events, rejects, discarded values, dead letters, figures, and lines in the spool. Finds all user ids and
    addresses of the person, and suppresses them, so that later loads do not bring them back. An erasure that was
    interrupted is continued when it is repeated.
    """
    user_id, email, certificate = given["user_id"], given["email"], given["certificate"]
    if (path is None) == (user_id is None and email is None):
        raise UsageError("name a person with --user-id or --email, or several with --file")
    if given["only_exact"] and given["include_shared"]:
        raise UsageError("--only-exact and --include-shared exclude each other")
    subjects = read_subjects(path) if path else [read_subject(user_id, email)]
    flags = (given[name] for name in ("anonymize", "only_exact", "include_shared"))
    options = ErasureOptions(spool or home() / "spool", home(), *flags)
    if given["dry_run"]:
        _show(plan_erasure(settings, subjects, options), as_json=as_json, verb="would be removed")
        return
    erasures = erase(settings, subjects, options, lambda planned: given["yes"] or _confirm(planned))
    if erasures is None:
        raise click.Abort
    if certificate:
        _write_certificates(settings, erasures, certificate)
    _show(erasures, as_json=as_json, verb="removed")


def _confirm(planned: Sequence[Erasure]) -> bool:
    if not sys.stdin.isatty():
        raise UsageError("nothing is erased without --yes, or an answer on a terminal")
    _show(planned, as_json=False, verb="will be removed")
    return click.confirm("Erase this permanently?", err=True)


def _show(erasures: Sequence[Erasure], *, as_json: bool, verb: str) -> None:
    if as_json:
        print_json({"erasures": [erasure.as_json() for erasure in erasures]})
        return
    for erasure in erasures:
        found = erasure.as_json()
        print(f"{', '.join(erasure.person.subject.names)}: identities {', '.join(found['identities'])}")
        if found["others"]:
            print(f"shares {', '.join(found['shared_addresses'])} with {', '.join(found['others'])}")
        if found["removed"]:
            print_table("", [{"place": place, verb: count} for place, count in found["removed"].items()])
        else:
            print("nothing found")
        if found["unreachable"]:
            print_table("not reached", found["unreachable"])


def _write_certificates(settings: Settings, erasures: Sequence[Erasure], path: Path) -> None:
    with open_warehouse(settings) as warehouse:
        found = [read_certificate(warehouse, erasure.erasure_id or 0) for erasure in erasures]
    path.write_text(json.dumps(found[0] if len(found) == 1 else found, indent=2) + "\n", "utf-8")


@privacy.command("log")
@click.option("--limit", default=20, type=click.IntRange(1), show_default=True, help="Maximum number of erasures.")
@click.option("--certificate", "number", metavar="ID", type=int, help="Print the certificate of one erasure, as JSON.")
@connection_options
@json_option
def log_command(settings: Settings, as_json: bool, limit: int, number: int | None) -> None:
    """List erasures: who asked, when, and what was removed where. People are shown as keyed hashes."""
    with open_warehouse(settings) as warehouse:
        if number is not None:
            print_json(read_certificate(warehouse, number))
            return
        found = list_erasures(warehouse, limit)
    if not as_json:
        for row in found:
            row["subject"], row["removed"] = row["subject"][:12], sum(map(int, row["removed"].values()))
            row["unreachable"] = len(row["unreachable"])
    print_rows("erasures", found, as_json=as_json, nothing="nobody has been erased")


@privacy.group("suppress")
def suppress() -> None:
    """Manage the list of people whose events are not loaded."""


def _names(user_id: str | None, email: str | None, path: Path | None) -> list[str]:
    subjects: list[Subject] = read_subjects(path) if path else [read_subject(user_id, email)]
    return [name for subject in subjects for name in subject.names]


_file = click.option(
    "--file",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="CSV with the columns user_id, email or both.",
)


@suppress.command("add")
@_user_id
@_email
@_file
@connection_options
def add_command(settings: Settings, user_id: str | None, email: str | None, path: Path | None) -> None:
    """Suppress people.

    From now on, loads, replays and integrations drop their events, and count them.
    """
    with open_warehouse(settings) as warehouse, warehouse.transaction():
        count = change_list(warehouse, add=_names(user_id, email, path))
    print(f"{count:,} identities are suppressed now")


@suppress.command("remove")
@_user_id
@_email
@_file
@connection_options
def remove_command(settings: Settings, user_id: str | None, email: str | None, path: Path | None) -> None:
    """Load events of people again. Events that have been dropped do not come back by themselves."""
    with open_warehouse(settings) as warehouse, warehouse.transaction():
        count = change_list(warehouse, remove=_names(user_id, email, path))
    print(f"{count:,} identities are no longer suppressed")


@suppress.command("list")
@click.option("--limit", default=20, type=click.IntRange(1), show_default=True, help="Maximum number of entries.")
@connection_options
@json_option
def list_command(settings: Settings, as_json: bool, limit: int) -> None:
    """List suppressed identities, the newest first, as keyed hashes."""
    with open_warehouse(settings) as warehouse:
        found: list[dict[str, Any]] = list_suppressed(warehouse, limit)
    print_rows("suppressed", found, as_json=as_json, nothing="nobody is suppressed")


@privacy.command("retain")
@click.option("--events", metavar="TIME", help="How long to keep events, by their time: 25months, 2years, or off.")
@click.option("--raw", metavar="TIME", help="How long to keep loaded segments of the spool, at most --keep of `serve`.")
@click.option("--rejects", metavar="TIME", help="How long to keep rejects, discarded values and dead letters.")
@connection_options
@json_option
def retain_command(settings: Settings, as_json: bool, **given: str | None) -> None:
    """Set how long data is kept, or show it.

    Loads apply the policy once a day, and `privacy apply` does at any time. Figures of campaigns and of their days stay
    as they are when old events are deleted; all other views forget them.
    """
    with open_warehouse(settings) as warehouse:
        set_policy(warehouse, given)
        found = read_policy(warehouse)
    print_rows("retention", found, as_json=as_json, nothing="everything is kept")


@privacy.command("apply")
@_spool
@connection_options
@json_option
def apply_command(settings: Settings, as_json: bool, spool: Path | None) -> None:
    """Delete what is older than `privacy retain` allows, in batches. Run it from a scheduler, when no load runs."""
    counts = apply_policy(settings, spool or home() / "spool")
    if as_json:
        print_json(counts)
        return
    print(", ".join(f"{count:,} {kind.replace('_', ' ')}" for kind, count in counts.items()) or "nothing", "deleted")
    if counts.get("events"):
        print("figures of campaigns and of their days stay as they are; the other views no longer have these events")


@privacy.command("report")
@_spool
@connection_options
@json_option
def report_command(settings: Settings, as_json: bool, spool: Path | None) -> None:
    """Show where personal data lies.

    Lists columns with their rows, the oldest one, and who may read them; then files. Reads all tables once.
    """
    with open_warehouse(settings) as warehouse, warehouse.transaction():
        tables = report_tables(warehouse)
    files = report_files(spool or home() / "spool", settings.schema)
    if as_json:
        print_json({"columns": tables, "files": files})
        return
    print_table("columns", tables)
    print_table("files", files)
