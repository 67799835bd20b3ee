"""Help, error messages, exit codes, and that passwords are never printed."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from psycopg.conninfo import conninfo_to_dict

from loader.cli.main import commands
from loader.config import Settings
from loader.version import __version__
from tests.support.command_line import AWAY, COMMAND, SECRET, Run, environment, run_command
from tests.support.command_server import subcommands


def names(group: click.Group, *parents: str) -> Iterator[tuple[str, ...]]:
    for name, command in subcommands(group).items():
        yield (*parents, name)
        if isinstance(command, click.Group):
            yield from names(command, *parents, name)


@pytest.mark.parametrize("command", [(), *names(commands)], ids=" ".join)
def test_every_command_has_help_and_those_at_the_top_an_example(command: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(commands, [*command, "--help"], prog_name="selligent-loader")
    assert (shown.exit_code, shown.stderr) == (0, "")
    assert f"Usage: {' '.join(['selligent-loader', *command])}" in shown.stdout
    if len(command) < 2:
        assert re.search(rf"\n  Examples?:\n    selligent-loader {' '.join(command)}", shown.stdout)


def test_help_goes_to_standard_output(tmp_path: Path) -> None:
    shown = run_command(None, tmp_path, "--help")
    assert (shown.code, shown.err) == (0, "")
    assert "Usage: selligent-loader [OPTIONS] COMMAND" in shown.out


def test_the_version_is_told(tmp_path: Path) -> None:
    assert run_command(None, tmp_path, "--version").out == f"selligent-loader, version {__version__}\n"


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        ("load missing.jsonl", 1, "error: 'missing.jsonl' does not exist"),
        ("load *.missing", 1, "error: '*.missing' matches no files"),
        ("load events.jsonl --nonsense", 2, "No such option"),
        ("load events.jsonl --jobs 0", 2, "--jobs"),
        ("load", 2, "Missing argument 'PATH...'"),
        ("unload", 2, "No such command 'unload'"),
        ("load events.jsonl --schema elsewhere", 2, "error: schema 'elsewhere' is not prepared; run `selligent-loader"),
        ("status --schema elsewhere", 2, "error: schema 'elsewhere' is not prepared"),
        ("rejects list --schema elsewhere", 2, "error: schema 'elsewhere' is not prepared"),
        ("init --schema 100%", 2, "error: schema '100%' cannot be used"),
        ("load events.jsonl --schema 100%", 2, "error: schema '100%' cannot be used"),
        ("rejects show 77", 2, "error: there is no reject 77"),
        ("rejects show x", 2, "'x' is not a valid integer"),
        (f"load events.jsonl --database-url {AWAY}", 1, "error: the database cannot be reached"),
        ("load events.jsonl --database-url postgresql://ada:a@b@c/d", 2, "error: the database url cannot be read"),
    ],
)
def test_what_is_wrong_is_told_on_standard_error(run: Run, events: Path, command: str, code: int, message: str) -> None:
    ended = run(*command.split())
    assert (ended.code, ended.out) == (code, "")
    assert message.lower() in ended.err.lower()
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    ("command", "code"), [("load missing.jsonl", 1), ("status --schema elsewhere", 2), ("rejects show 77", 2)]
)
def test_what_is_wrong_is_told_as_json_too(run: Run, command: str, code: int) -> None:
    ended = run(*command.split(), "--json")
    assert (ended.code, ended.out.count("\n")) == (code, 1)
    printed = json.loads(ended.out)
    assert (printed["status"], ended.err) == ("failed", f"error: {printed['error']}\n")


@pytest.mark.parametrize(
    "command",
    [
        "load events.jsonl",
        "load events.jsonl --verbose",
        "load events.jsonl --json",
        "init --verbose --json",
        "status --verbose --json",
        "rejects list --verbose --json",
    ],
)
def test_a_wrong_password_is_shown_nowhere(run: Run, settings: Settings, events: Path, command: str) -> None:
    place = conninfo_to_dict(settings.database_url or "")
    url = f"postgresql://{place['user']}:{SECRET}@{place['host']}:{place.get('port', 5432)}/{place['dbname']}"
    ended = run(*command.split(), SELLIGENT_DATABASE_URL=url)
    assert (ended.code, "password authentication failed" in ended.err) == (1, True)
    assert SECRET not in ended.out + ended.err


@pytest.mark.parametrize(
    "url",
    [
        AWAY,
        f"postgresql://ada:{SECRET}@host@127.0.0.1:1/warehouse",
        f"postgresql://ada:{SECRET}@127.0.0.1:port/warehouse",
        f"postgresql://ada:{SECRET}%zz@127.0.0.1:1/warehouse",
        f"postgresql://ada:{SECRET}/@127.0.0.1:1/warehouse",
        f"postgresql://ada:{SECRET}@127.0.0.1:1/warehouse?nonsense=1",
        f"mysql://ada:{SECRET}@127.0.0.1:1/warehouse",
        f"host=127.0.0.1 port=1 password='{SECRET}",
        SECRET,
    ],
)
def test_a_url_that_leads_nowhere_does_not_give_its_password_away(run: Run, events: Path, url: str) -> None:
    ended = run("load", "events.jsonl", "--verbose", "--json", "--database-url", url)
    assert (ended.code in {1, 2}, "Traceback" in ended.err) == (True, False)
    assert SECRET not in ended.out + ended.err


def test_the_right_password_is_shown_nowhere(run: Run, settings: Settings, events: Path) -> None:
    password = str(conninfo_to_dict(settings.database_url or "")["password"])
    ended = run("load", "--verbose", "events.jsonl")
    assert "reading" in ended.err
    assert password not in ended.out + ended.err


def help_of(command: click.Command) -> list[str]:
    """Return the lines of a command's help on 80 columns."""
    context = click.Context(command, info_name="selligent-loader", terminal_width=78, **commands.context_settings)
    return command.get_help(context).splitlines()


def groups(group: click.Group) -> Iterator[click.Group]:
    yield group
    for command in subcommands(group).values():
        if isinstance(command, click.Group):
            yield from groups(command)


@pytest.mark.parametrize("group", list(groups(commands)), ids=lambda group: str(group.name))
def test_a_list_of_commands_has_one_line_for_each(group: click.Group) -> None:
    lines = help_of(group)
    for name, command in subcommands(group).items():
        summary = command.get_short_help_str(1000)
        assert [line for line in lines if re.fullmatch(rf"  {name} +{re.escape(summary)}", line)], name


def test_the_options_of_load_are_in_groups() -> None:
    lines = help_of(subcommands(commands)["load"])
    headings = [line.rstrip(":") for line in lines if re.fullmatch("[A-Z][a-z ]+:", line)]
    assert headings == ["What is read", "How it is loaded", "Limits", "What is reported", "Where to", "Options"]
    last = lines[lines.index("Options:") + 1 :]
    assert [line.split()[0] for line in last if line.startswith("  -")] == ["-h,"]


def test_a_group_alone_lists(run: Run) -> None:
    assert run("sources") == run("sources", "list")
    assert json.loads(run("settings", "--json").out)["settings"]
    assert "No such command 'nonsense'" in run("settings", "nonsense").err


#: Functions of bash that a script of completion uses, and the words that are completed.
COMPLETE = """
source <(selligent-loader completion bash)
COMP_WORDS=({words}) COMP_CWORD={place}
_selligent_loader_completion selligent-loader
echo "${{COMPREPLY[@]}}"
"""


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("selligent-loader stat", "status"),
        ("selligent-loader settings s", "set"),
        ("selligent-loader load --max", "--max-rejects --max-columns --max-tables"),
        ("selligent-loader completion f", "fish"),
    ],
)
def test_bash_completes_commands_and_options(tmp_path: Path, words: str, found: str) -> None:
    script = COMPLETE.format(words=words, place=len(words.split()) - 1)
    variables = environment(None, PATH=f"{Path(COMMAND).parent}:{os.environ['PATH']}")
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=variables, capture_output=True, check=True)
    assert done.stdout.decode().strip() == found


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_have_scripts_that_they_can_read(tmp_path: Path, shell: str) -> None:
    script = run_command(None, tmp_path, "completion", shell).out
    assert "_SELLIGENT_LOADER_COMPLETE" in script
    if program := shutil.which(shell):
        subprocess.run([program, "-n"], input=script.encode(), check=True)
