"""The documents: their commands exist, their links lead to files, their SQL returns rows; the examples can be read.

`python -m tests.test_docs > docs/commands.md` writes the reference of all commands.
"""

import configparser
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import psycopg
import pytest
import yaml

from loader.cli.main import commands
from loader.config import Settings
from loader.events.outcomes import DISCARD_REMEDIES, REJECT_REASONS
from loader.sample import ndjson
from tests.support.command_line import COMMAND, environment
from tests.support.command_server import subcommands
from tests.support.loading import one, select
from tests.test_layers import LAYERS

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "benchmarks" / "README.md"]
)
MAX_README_LINES = 150
#: Words that the documents do not use.
UNWANTED_WORDS = re.compile(r"\b(tell|tells|telling|told|anew|for ever)\b", re.I)
#: Columns of a terminal on which the help texts are printed.
HELP_WIDTH = 100
#: Documents with queries that must return rows; the SQL of the others must run.
QUERIES = {"README.md", "docs/questions.md"}

FOLDER = ROOT / "examples"
FILES = sorted(path.name for path in FOLDER.iterdir() if path.is_file())
UNITS = [name for name in FILES if name.endswith((".service", ".timer"))]
#: What would be seen in a list of processes.
SECRETS = re.compile(r"https?://|:[^/@\s]+@|password=", re.I)


def document(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def blocks(text: str, *languages: str) -> Iterator[tuple[str, str]]:
    """Yield the fenced blocks in these languages, each with the block without a language that follows it directly.

    >>> fence = "`" * 3
    >>> list(blocks(f"{fence}sql\\nselect 1\\n{fence}\\n{fence}\\n 1\\n{fence}\\n", "sql"))
    [('select 1\\n', ' 1\\n')]
    """
    pattern = re.compile(r"^ *```(\w+)\n(.*?)^ *```\n(?:```\n(.*?)^```$)?", re.MULTILINE | re.DOTALL)
    yield from ((found[2], found[3] or "") for found in pattern.finditer(text) if found[1] in languages)


def split_command(text: str) -> Iterator[list[str]]:
    """Yield the arguments of each call of `selligent-loader` in a line of shell.

    >>> list(split_command("found=$(selligent-loader check) || selligent-loader load ';' 'a b' >> log  # twice"))
    [['check'], ['load', ';', 'a b']]
    """
    lexer = shlex.shlex(text, posix=False, punctuation_chars=True)  # keeps quotes, so that ';' in quotes ends nothing
    lexer.whitespace_split = True
    arguments: list[str] | None = None
    for token in [*lexer, ";"]:
        if set(token) <= set("();<>|&"):
            if arguments is not None:
                yield arguments
            arguments = None
        elif arguments is not None:
            arguments += shlex.split(token)
        elif token.rpartition("/")[2] == "selligent-loader":
            arguments = []


def documented_commands() -> Iterator[tuple[str, list[str]]]:
    """Yield the arguments of every command in the documents, in blocks of shell and in sentences."""
    for name in DOCUMENTS:
        text = document(name)
        lines = [line for block, _ in blocks(text, "sh") for line in block.replace("\\\n", " ").splitlines()]
        for block, _ in blocks(text, "console"):
            lines += [line.removeprefix("$ ") for line in block.splitlines() if line.startswith("$ ")]
        lines += re.findall(r"`(selligent-loader [^`]+)`", text)
        yield from ((name, arguments) for line in lines for arguments in split_command(line))


def parse_command(arguments: list[str]) -> None:
    """Parse the arguments of a command as click does; raises click.UsageError for what it does not have."""
    command: click.Command = commands
    rest = list(arguments)
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        name = rest.pop(0)
        found = subcommands(command)
        if name not in found:
            raise click.UsageError(f"there is no command {name!r}")
        command = found[name]
    if not {"--help", "--version"}.intersection(rest):
        with click.Context(command, **commands.context_settings) as context:
            command.parse_args(context, rest)


@pytest.mark.parametrize(("name", "arguments"), list(documented_commands()))
def test_a_documented_command_exists_with_its_options(name: str, arguments: list[str]) -> None:
    parse_command(arguments)


@pytest.mark.parametrize("arguments", [["unload"], ["load", "--nonsense", "a"], ["keys", "make"], ["load"]])
def test_a_command_that_does_not_exist_is_found(arguments: list[str]) -> None:
    with pytest.raises(click.UsageError):
        parse_command(arguments)


def test_documented_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for name in DOCUMENTS:
        found = {target for block, _ in blocks(document(name), "sh") for target in re.findall(r"^make (\w+)", block)}
        assert found <= targets, name


def slug(heading: str) -> str:
    """Return the anchor of a heading.

    >>> slug("Human or machine"), slug("[0.1.0]"), slug("Which links did people click?")
    ('human-or-machine', '010', 'which-links-did-people-click')
    """
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_to_files_and_headings(name: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", document(name)):
        path, _, anchor = target.partition("#")
        if "://" in path:
            continue
        place = (ROOT / name).parent / path if path else ROOT / name
        assert place.exists(), target
        headings = re.findall(r"^#+ (.+)$", place.read_text("utf-8"), re.MULTILINE) if anchor else []
        assert not anchor or anchor in map(slug, headings), target


def test_every_document_is_linked_from_the_readme() -> None:
    assert [name for name in DOCUMENTS if name != "README.md" and f"]({name})" not in document("README.md")] == []


def test_the_readme_is_short_and_shows_a_command_first() -> None:
    lines = document("README.md").splitlines()
    assert len(lines) <= MAX_README_LINES
    assert "make demo" in lines[:20]


@pytest.mark.parametrize("name", [*DOCUMENTS, *(f"examples/{file}" for file in FILES)])
def test_no_document_uses_unwanted_words(name: str) -> None:
    assert [line for line in document(name).splitlines() if UNWANTED_WORDS.search(line)] == []


def test_the_layers_are_those_that_are_tested() -> None:
    (table,) = (block for block, _ in blocks(document("docs/architecture.md"), "text"))
    assert table.strip() == LAYERS.strip()


def test_every_package_is_described() -> None:
    described = set(
        re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`[^|]+) \|", document("docs/architecture.md"), re.M)))
    )
    assert {*LAYERS.split(), "sample"} <= described


def test_every_reason_is_described() -> None:
    described = set(re.findall(r"^\| `(\w+)` \|", document("docs/rejects.md"), re.MULTILINE))
    assert described == {*REJECT_REASONS, *DISCARD_REMEDIES}


def command_help() -> Iterator[tuple[str, str]]:
    """Yield the name and the help text of every command, each group before its commands."""

    def walk(command: click.Command, name: str, parent: click.Context | None) -> Iterator[tuple[str, str]]:
        settings = {**command.context_settings, "terminal_width": HELP_WIDTH}
        context = click.Context(command, parent, info_name=name, **settings)
        yield context.command_path, command.get_help(context)
        if isinstance(command, click.Group):
            for name, child in subcommands(command).items():
                yield from walk(child, name, context)

    return walk(commands, "selligent-loader", None)


def render_commands() -> str:
    """Return the text of `docs/commands.md`."""
    introduction = (
        "# Commands\n\nThe output of `--help` of every command. After a change, print this page again with\n"
        "`python -m tests.test_docs > docs/commands.md`.\n"
    )
    sections = (f"\n## {name}\n\n```text\n{text.rstrip()}\n```\n" for name, text in command_help())
    return introduction + "".join(sections)


def test_the_reference_of_commands_is_what_help_prints() -> None:
    assert document("docs/commands.md") == render_commands(), "run `python -m tests.test_docs > docs/commands.md`"


@pytest.mark.parametrize("name", [name for name in DOCUMENTS if any(blocks(document(name), "sql"))])
def test_documented_sql_runs(sampled: Settings, name: str) -> None:
    """A query returns rows, with the columns that the document shows."""
    with psycopg.connect(sampled.database_url or "") as connection:
        for query, answer in blocks(document(name), "sql"):
            cursor = connection.execute(query.encode())
            if name in QUERIES:
                assert cursor.fetchall(), query
                heading = answer.partition("\n")[0]
                assert [column.name for column in cursor.description or ()] == heading.replace("|", " ").split()
        connection.rollback()


def test_every_view_and_setting_is_described(sampled: Settings) -> None:
    views = select(sampled, "select viewname as name from pg_views where schemaname = 'selligent'")
    settings = select(sampled, "select name from settings")
    described = set(re.findall(r"`(\w+)`", document("docs/views.md")))
    assert len(views) > 10
    assert {row["name"] for row in (*views, *settings)} - described == set()


@pytest.mark.slow
def test_the_three_commands_of_the_readme_load_a_file(settings: Settings, tmp_path: Path) -> None:
    (script,) = (block for block, _ in blocks(document("README.md"), "sh") if "selligent-loader load" in block)
    assert script.count("\n") == 3
    (tmp_path / "events.jsonl").write_bytes(b"".join(ndjson.lines(2000, 1)))
    variables = environment(settings, PATH=f"{Path(COMMAND).parent}:{os.environ['PATH']}")
    done = subprocess.run(["sh", "-e", "-c", script], cwd=tmp_path, env=variables, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert one(settings, "select events_read from loads")["events_read"] == 2000
    assert b"tracks" in done.stdout


def invocations() -> Iterator[tuple[str, list[str]]]:
    """Yield every command of the examples with the file it is in."""
    for name in ("crontab", *(name for name in UNITS if name.endswith(".service"))):
        for line in (FOLDER / name).read_text("utf-8").splitlines():
            if not line.startswith("#"):
                yield from ((name, shlex.split(found)) for found in re.findall(r"selligent-loader ([^;)>]+)", line))
    for name in ("cronjob.yaml", "cronjob-full-refresh.yaml"):
        yield name, container(name)["args"][1:]
    source = (FOLDER / "airflow_dag.py").read_text("utf-8")
    yield from (("airflow_dag.py", re.findall(r'"([^"]+)"', found)) for found in re.findall(r"run\(\[(.+)\]\)", source))


def cron_job(name: str = "cronjob.yaml") -> dict[str, Any]:
    return yaml.safe_load((FOLDER / name).read_text("utf-8"))  # type: ignore[no-any-return]


def pod(name: str = "cronjob.yaml") -> dict[str, Any]:
    return cron_job(name)["spec"]["jobTemplate"]["spec"]["template"]["spec"]  # type: ignore[no-any-return]


def container(name: str = "cronjob.yaml") -> dict[str, Any]:
    (found,) = pod(name)["containers"]
    return found  # type: ignore[no-any-return]


def test_all_examples_have_commands() -> None:
    assert {name for name, _ in invocations()} == {name for name in FILES if not name.endswith(".timer")}


@pytest.mark.parametrize(("name", "arguments"), list(invocations()))
def test_a_command_of_an_example_exists_with_its_options(name: str, arguments: list[str]) -> None:
    parse_command(arguments)


@pytest.mark.parametrize("name", FILES)
def test_no_secret_is_in_a_command(name: str) -> None:
    text = (FOLDER / name).read_text("utf-8")
    assert not [line for line in text.splitlines() if SECRETS.search(line) and not line.startswith("#")]


def test_the_crontab_is_valid() -> None:
    for line in (FOLDER / "crontab").read_text("utf-8").splitlines():
        if not line or line.startswith("#") or re.match(r"[A-Z_]+=", line):
            continue
        *times, command = line.split(maxsplit=5)
        assert all(re.fullmatch(r"\*|\d+", time) for time in times)
        assert "%" not in command  # which cron would take for a line break
        assert subprocess.run(["sh", "-n", "-c", command], check=False).returncode == 0


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    for name in UNITS:
        text = (FOLDER / name).read_text("utf-8").replace("/usr/local/bin/selligent-loader", "/bin/true")
        (tmp_path / name).write_text(text)
    units = [str(tmp_path / name) for name in UNITS]
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *units], capture_output=True, check=False)
    warnings = [line for line in done.stderr.decode().splitlines() if "selligent-" in line]
    assert (warnings, done.returncode) == ([], 0), done.stderr.decode()


@pytest.mark.parametrize(
    ("name", "well", "final"), [("loader", "4", "2 3"), ("full-refresh", None, "2"), ("stream", None, "2")]
)
def test_systemd_knows_the_exit_codes(name: str, well: str | None, final: str) -> None:
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(FOLDER / f"selligent-{name}.service")
    service = unit["Service"]
    assert (service.get("SuccessExitStatus"), service["RestartPreventExitStatus"]) == (well, final)


def test_the_kubernetes_job_has_the_fields_of_its_kind() -> None:
    job = cron_job()
    assert (job["apiVersion"], job["kind"], set(job)) == (
        "batch/v1",
        "CronJob",
        {"apiVersion", "kind", "metadata", "spec"},
    )
    known = {"schedule", "timeZone", "concurrencyPolicy", "startingDeadlineSeconds", "jobTemplate"}
    assert job["spec"].keys() == known | {"successfulJobsHistoryLimit", "failedJobsHistoryLimit"}
    assert job["spec"]["concurrencyPolicy"] == "Forbid"
    spec = job["spec"]["jobTemplate"]["spec"]
    assert spec.keys() == {"backoffLimit", "activeDeadlineSeconds", "podFailurePolicy", "template"}
    assert pod()["restartPolicy"] == "Never"  # which a podFailurePolicy needs
    failing, ignoring = spec["podFailurePolicy"]["rules"]
    assert failing["onExitCodes"] == {"containerName": container()["name"], "operator": "In", "values": [2, 3, 4]}
    assert ignoring == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}
    assert {mount["name"] for mount in container()["volumeMounts"]} == {volume["name"] for volume in pod()["volumes"]}


class Task:
    """What Airflow's decorators make of a function: something that is put in order instead of run."""

    def __init__(self, function: Any, made: list[Any]) -> None:
        self.function = function
        self.made = made

    def __call__(self) -> "Task":
        self.made.append(self.function)
        return self

    def __rshift__(self, other: "Task") -> "Task":
        return other


class SkipError(Exception):
    """Airflow's AirflowSkipException."""


class FinalError(Exception):
    """Airflow's AirflowFailException."""


class RetriedError(Exception):
    """Airflow's AirflowException."""


@pytest.fixture
def tasks(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The functions of the DAG's tasks, imported as Airflow would, with the names it takes from Airflow."""
    made: list[Any] = []
    decorators, exceptions = ModuleType("airflow.decorators"), ModuleType("airflow.exceptions")
    decorators.dag = lambda **_: lambda function: function  # type: ignore[attr-defined]
    decorators.task = lambda function=None, **_: (  # type: ignore[attr-defined]
        Task(function, made) if function else lambda inner: Task(inner, made)
    )
    for name, error in (
        ("AirflowException", RetriedError),
        ("AirflowFailException", FinalError),
        ("AirflowSkipException", SkipError),
    ):
        setattr(exceptions, name, error)
    monkeypatch.setitem(sys.modules, "airflow.decorators", decorators)
    monkeypatch.setitem(sys.modules, "airflow.exceptions", exceptions)
    exec(compile((FOLDER / "airflow_dag.py").read_text("utf-8"), "airflow_dag.py", "exec"), {"__name__": "dag"})
    return made


@pytest.mark.parametrize(
    ("code", "error"),
    [
        *[(0, None), (1, RetriedError), (2, FinalError), (3, FinalError)],
        *[(4, SkipError), (5, FinalError), (137, RetriedError)],
    ],
)
def test_airflow_knows_the_exit_codes(
    tasks: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, error: type[Exception] | None
) -> None:
    command = tmp_path / "selligent-loader"
    command.write_text(f"#!/bin/sh\nexit {code}\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    load, refresh_fully, check = tasks
    refresh_fully()  # not on a Sunday
    for task in (load, partial(refresh_fully, datetime(2026, 11, 22)), check):
        if error is None:
            task()
        else:
            with pytest.raises(error, match=f"exit code {code}"):
                task()


if __name__ == "__main__":
    print(render_commands(), end="")
