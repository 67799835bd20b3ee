"""Integrations are found by name: the built-in ones, and those of other packages by their entry points."""

import subprocess
import sys
from pathlib import Path

import pytest

from loader.errors import UsageError
from loader.integrations.outcomes import DELIVERED
from loader.integrations.registry import BUILT_IN, GROUP, find_kind, kinds
from tests.support.loading import event
from tests.support.targets import batch, integration, target

MODULE = """
from loader.integrations.event import Event, encode
from loader.integrations.http import Request
from loader.integrations.over_http import HttpIntegration
from loader.integrations.protocol import Batch, BatchLimits, Secret, Setting


class MyTarget(HttpIntegration):
    name, label = "my-target", "My Target"
    settings = (Setting("url", "Address of the target."),)
    secret = Secret("The API key.")
    limits = BatchLimits(events=10, size=1_000_000, event_size=32_768)

    def encode(self, event: Event) -> bytes:
        return encode({"event": event.name, "insert_id": event.message_id})

    def request(self, batch: Batch) -> Request:
        return Request(self._options.settings["url"], b"[" + b",".join(batch.bodies) + b"]")
"""
ENTRY_POINTS = f"""
[{GROUP}]
my-target = my_target:MyTarget
not-there = my_target:Missing
broken = no_such_module:Target
segment = my_target:MyTarget
"""


@pytest.fixture
def distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package that adds integrations, as pip leaves it."""
    (tmp_path / "my_target.py").write_text(MODULE)
    about = tmp_path / "my_target-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: my-target\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "my_target", raising=False)
    return tmp_path


def test_each_built_in_integration_has_its_name_and_describes_itself() -> None:
    for name in BUILT_IN:
        kind = find_kind(name)
        assert kind.name == name
        assert kind.label
        assert all(setting.help.endswith(".") for setting in kind.settings)
        assert kind.secret is None or kind.secret.help.endswith(".")


def test_another_package_adds_an_integration(distribution: Path) -> None:
    assert {"my-target", *BUILT_IN} <= set(kinds())
    with target() as place:
        made = integration("my-target", "my-api-key", url=place.url)
        assert made.deliver(batch(made, event())) == [DELIVERED]
        assert [outcome.status for outcome in made.test(batch(made, event()))] == ["delivered"]
    assert place.requests[0].json == [{"event": "Email Opened", "insert_id": "m1"}]


def test_a_process_finds_it_too(distribution: Path) -> None:
    command = "from loader.integrations.registry import find_kind; print(find_kind('my-target').label)"
    environment = {"PYTHONPATH": f"{distribution}:{Path(__file__).parents[2]}"}
    found = subprocess.run([sys.executable, "-c", command], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout == "My Target\n"


def test_another_package_cannot_replace_a_built_in_integration(distribution: Path) -> None:
    assert find_kind("segment").__module__ == "loader.integrations.segment"


@pytest.mark.parametrize(
    ("name", "problem"),
    [("broken", "no_such_module"), ("not-there", "Missing"), ("my-targets", "there is no integration 'my-targets'")],
)
def test_an_integration_that_cannot_be_used_is_refused(name: str, problem: str, distribution: Path) -> None:
    with pytest.raises(UsageError, match=problem):
        find_kind(name)
