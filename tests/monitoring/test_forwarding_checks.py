"""Checks of integrations: what is an error, what a warning."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from loader.config import Settings
from loader.forwarding.configuration import set_status
from loader.monitoring.checks import Limits, check
from loader.monitoring.forwarding_checks import check_integration
from loader.monitoring.results import ERROR, OK, WARN, Check
from loader.monitoring.status import read_status
from loader.schema.source import open_warehouse
from tests.support.forwarding import add, forward_events, received, spooling, write
from tests.support.targets import Reply, target

NOW = datetime(2025, 1, 1, tzinfo=UTC)
FINE: dict[str, Any] = {
    "name": "crm",
    "status": "enabled",
    "status_reason": None,
    "host": "h",
    "backlog_limit": 1000,
    "waiting_bytes": 0,
    "lag_events": 0,
    "lag_seconds": 0.0,
    "failing_since": None,
    "error": None,
    "updated_at": NOW,
    "age_seconds": 1.0,
}


@pytest.mark.parametrize(
    ("changed", "level", "found"),
    [
        ({}, OK, "no event waits"),
        ({"lag_events": 3, "lag_seconds": 120.0}, OK, "3 events wait, the oldest for 2 min"),
        ({"lag_events": None, "lag_seconds": 1000.0}, WARN, "an unknown number of events wait"),
        ({"lag_events": 3, "lag_seconds": 7 * 3600.0}, ERROR, "oldest for 7 h"),
        ({"lag_events": 3, "lag_seconds": 5.0, "failing_since": NOW, "error": "network: x"}, WARN, "3 events wait"),
        ({"waiting_bytes": 600}, WARN, "60% of --backlog-limit"),
        ({"waiting_bytes": 900}, ERROR, "90% of --backlog-limit"),
        ({"age_seconds": 400.0}, ERROR, "no forwarder has reported for 7 min"),
        ({"status": "disabled", "status_reason": "gone"}, ERROR, "disabled: gone"),
        ({"status": "paused"}, WARN, "paused"),
        ({"updated_at": None}, WARN, "no forwarder has run"),
    ],
)
def test_the_state_of_an_integration_has_a_level(changed: dict[str, Any], level: str, found: str) -> None:
    result = check_integration({**FINE, **changed})
    assert (result.name, result.level) == ("forwarding to crm", level)
    assert found in result.found
    assert bool(result.todo) == (level != OK)


def checks(settings: Settings) -> dict[str, Check]:
    with open_warehouse(settings) as warehouse:
        return {found.name: found for found in check(warehouse, Limits(error=timedelta(hours=50)))}


def test_check_and_status_show_integrations(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SELLIGENT_HOME", str(tmp_path / "home"))
    with target(lambda _: Reply(400, b"no")) as place, spooling(tmp_path / "spool") as spool:
        add(settings, place.url, "crm")
        assert "no forwarder" in checks(settings)["forwarding to crm"].found
        write(spool, [received(1)])
        assert forward_events(settings, tmp_path / "spool", "crm")
    found = checks(settings)
    assert found["forwarding to crm"].level == OK
    assert (found["events for crm"].level, found["events for crm"].found) == (
        ERROR,
        "1 undelivered within the last 50 h",
    )
    with open_warehouse(settings) as warehouse:
        (row,) = read_status(warehouse)["integrations"]
        set_status(warehouse, "crm", "disabled", "gone")
    assert (row["lag_events"], row["undelivered_now"], row["failures"]) == (0, 1, {"refused": 1})
    assert checks(settings)["forwarding to crm"].level == ERROR
