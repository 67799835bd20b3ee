"""The examples: their schedulers can read them, and every command in them is one we have."""

import configparser
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest
import yaml

from loader.cli.main import commands

FOLDER = Path(__file__).parents[1] / "examples"
UNITS = ["selligent-loader.service", "selligent-loader.timer", "selligent-stream.service"]
FILES = sorted(path.name for path in FOLDER.iterdir() if path.is_file())
#: What would be seen in a list of processes.
SECRETS = re.compile(r"https?://|:[^/@\s]+@|password=", re.I)


def invocations() -> Iterator[tuple[str, list[str]]]:
    """Yield every command of the examples with the file it is in."""
    for name in ("crontab", "selligent-loader.service", "selligent-stream.service"):
        for line in (FOLDER / name).read_text("utf-8").splitlines():
            if not line.startswith("#"):
                yield from ((name, shlex.split(found)) for found in re.findall(r"selligent-loader ([^;)>]+)", line))
    yield "cronjob.yaml", container()["args"][1:]
    source = (FOLDER / "airflow_dag.py").read_text("utf-8")
    yield from (("airflow_dag.py", re.findall(r'"([^"]+)"', found)) for found in re.findall(r"run\(\[(.+)\]\)", source))


def cron_job() -> dict[str, Any]:
    return yaml.safe_load((FOLDER / "cronjob.yaml").read_text("utf-8"))  # type: ignore[no-any-return]


def pod() -> dict[str, Any]:
    return cron_job()["spec"]["jobTemplate"]["spec"]["template"]["spec"]  # type: ignore[no-any-return]


def container() -> dict[str, Any]:
    (found,) = pod()["containers"]
    return found  # type: ignore[no-any-return]


def test_there_are_commands_in_all_examples() -> None:
    assert {name for name, _ in invocations()} == set(FILES) - {"selligent-loader.timer"}


@pytest.mark.parametrize(("name", "arguments"), list(invocations()))
def test_every_command_is_one_we_have(name: str, arguments: list[str]) -> None:
    command = commands.commands[arguments[0]]
    with click.Context(command) as context:
        command.parse_args(context, list(arguments[1:]))


@pytest.mark.parametrize("name", FILES)
def test_no_secret_is_in_a_command(name: str) -> None:
    text = (FOLDER / name).read_text("utf-8")
    assert not [line for line in text.splitlines() if SECRETS.search(line) and not line.startswith("#")]


def test_the_crontab_is_one() -> None:
    for line in (FOLDER / "crontab").read_text("utf-8").splitlines():
        if not line or line.startswith("#") or re.match(r"[A-Z_]+=", line):
            continue
        *times, command = line.split(maxsplit=5)
        assert all(re.fullmatch(r"\*|\d+", time) for time in times)
        assert "%" not in command  # which cron would take for a line break
        assert subprocess.run(["sh", "-n", "-c", command], check=False).returncode == 0


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    for name in UNITS:
        text = (FOLDER / name).read_text("utf-8").replace("/usr/local/bin/selligent-loader", "/bin/true")
        (tmp_path / name).write_text(text)
    units = [str(tmp_path / name) for name in UNITS]
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *units], capture_output=True, check=False)
    told = [line for line in done.stderr.decode().splitlines() if "selligent-" in line]
    assert (told, done.returncode) == ([], 0), done.stderr.decode()


@pytest.mark.parametrize(("name", "well", "final"), [("loader", "4", "2 3"), ("stream", None, "2")])
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
    assert [task.__name__ for task in tasks] == ["load", "check"]
    for task in tasks:
        if error is None:
            task()
        else:
            with pytest.raises(error, match=f"exit code {code}"):
                task()
