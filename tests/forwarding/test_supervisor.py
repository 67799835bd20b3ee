"""The supervisor runs a forwarder for each enabled integration and follows changes."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from loader.config import Settings
from loader.errors import OutageError, UsageError
from loader.forwarding import supervisor
from loader.forwarding.clock import Clock
from loader.forwarding.configuration import list_integrations, remove_integration, set_status
from loader.forwarding.supervisor import forward
from loader.schema.source import open_warehouse
from tests.support.forwarding import add, received, spooling, state, write
from tests.support.targets import Reply, Target, target
from tests.support.waiting import until


@pytest.fixture(autouse=True)
def fast(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SELLIGENT_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(supervisor, "REFRESH_SECONDS", 0.1)


@contextmanager
def forwarding(settings: Settings, spool: Path) -> Iterator[None]:
    clock = Clock()
    thread = threading.Thread(target=forward, args=(settings, spool, clock, lambda _: True))
    thread.start()
    try:
        yield
    finally:
        clock.stop()
        thread.join(30)
        assert not thread.is_alive()


def ids(place: Target) -> list[str]:
    return [item["messageId"] for request in place.requests for item in request.json["batch"]]


def test_integrations_are_added_paused_resumed_and_removed_while_it_runs(settings: Settings, tmp_path: Path) -> None:
    with target() as first, target() as second, spooling(tmp_path / "spool") as spool:
        add(settings, first.url, "first")
        with forwarding(settings, tmp_path / "spool"), open_warehouse(settings) as warehouse:
            write(spool, [received(1)])
            until(lambda: ids(first) == ["m1"])
            add(settings, second.url, "second")
            write(spool, [received(2)])
            until(lambda: ids(first) == ["m1", "m2"] and "m2" in ids(second))
            set_status(warehouse, "first", "paused")
            until(lambda: not _is_running("first"))
            write(spool, [received(3)])
            until(lambda: "m3" in ids(second))
            assert ids(first) == ["m1", "m2"]
            set_status(warehouse, "first", "enabled")
            until(lambda: ids(first) == ["m1", "m2", "m3"])
            remove_integration(warehouse, "second")
            until(lambda: len(list((tmp_path / "spool" / "selligent" / ".forward").glob("*.json"))) == 1)
            assert [found.name for found in list_integrations(warehouse)] == ["first"]
    assert state(settings, "first")["lag_events"] == 0


def _is_running(name: str) -> bool:
    return any(thread.name == name for thread in threading.enumerate())


def test_a_target_that_is_gone_disables_its_integration_only(settings: Settings, tmp_path: Path) -> None:
    with target(lambda _: Reply(410, b"bye")) as gone, target() as other, spooling(tmp_path / "spool") as spool:
        add(settings, gone.url, "gone")
        add(settings, other.url, "other")
        with forwarding(settings, tmp_path / "spool"):
            write(spool, [received(1)])
            until(lambda: ids(other) == ["m1"] and state(settings, "gone")["status"] == "disabled")
            write(spool, [received(2)])
            until(lambda: ids(other) == ["m1", "m2"])
    assert len(gone.requests) == 1
    assert state(settings, "gone")["status_reason"] == "gone: bye"


def test_a_spool_that_does_not_exist_is_a_mistake(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--spool"):
        forward(settings, tmp_path / "nothing", Clock(), lambda _: True)


def test_a_database_that_is_away_at_the_start_is_waited_for(
    settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    away = replace(settings, database_url="postgresql://nobody@127.0.0.1:1/none")
    with spooling(tmp_path / "spool"):
        with pytest.raises(OutageError):
            forward(away, tmp_path / "spool", Clock(), lambda _: True, once=True)
        with forwarding(away, tmp_path / "spool"):
            until(lambda: "forwarding begins later" in caplog.text)
