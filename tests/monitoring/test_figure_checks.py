"""Checks of the figures: revenue that sums leave out."""

from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from loader.config import Settings
from loader.monitoring import figure_checks
from loader.monitoring.figure_checks import check_figures
from loader.monitoring.results import OK, WARN, Check
from loader.schema.source import open_warehouse
from loader.views.refresh import refresh
from loader.views.settings import change_setting
from tests.support.loading import event, load_events


def found(settings: Settings) -> dict[str, Check]:
    refresh(settings)
    with open_warehouse(settings) as warehouse, warehouse.transaction():
        return {check.name: check for check in check_figures(warehouse, datetime.now(UTC))}


def test_revenue_in_other_currencies_or_unreadable_is_a_warning_with_examples(settings: Settings) -> None:
    checks = found(settings)
    assert (checks["currencies"].level, checks["revenue"].level) == (OK, OK)
    cases = Path(__file__).parents[1] / "data" / "cases"
    with psycopg.connect(settings.database_url or "", autocommit=True) as connection:
        connection.execute((cases / "orders.sql").read_bytes())
        connection.execute("insert into site.order_completed (id, total) values ('o6', '1,234')")
    with open_warehouse(settings) as warehouse:
        change_setting(warehouse, "segment_schemas", "site")
        change_setting(warehouse, "conversion_events", "order_completed:total:currency:order_id")
    checks = found(settings)
    assert [checks[name].level for name in ("currencies", "revenue")] == [WARN, WARN]
    assert checks["currencies"].found == "2 conversions are not in EUR and left out of sums: 1254.56 USD"
    assert checks["revenue"].found == "1 amounts of conversions cannot be read, for example '1,234'"


@pytest.mark.parametrize("exact_events", [200_000, 0])
def test_a_person_with_a_large_share_of_the_events_is_a_warning_with_advice(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exact_events: int
) -> None:
    monkeypatch.setattr(figure_checks, "EXACT_EVENTS", exact_events)
    monkeypatch.setattr(figure_checks, "MIN_EVENTS", 100)
    assert found(settings)["largest person"].level == OK
    events = [event(messageId=f"m{number}", userId=f"u{number % 50}") for number in range(1_000)]
    load_events(settings, events, tmp_path)
    assert found(settings)["largest person"].level == OK
    many = [event(messageId=f"n{number}", userId="Unbekannt") for number in range(100)]
    load_events(settings, many, tmp_path, "many")
    refresh(settings, rebuild=True)
    check = found(settings)["largest person"]
    assert check.level == WARN
    assert check.found == "'Unbekannt' has 100 of 1,100 e-mail events (9.1%)"
    assert "placeholder_ids" in check.todo
    with open_warehouse(settings) as warehouse:
        change_setting(warehouse, "placeholder_ids", "null, unbekannt")
    check = found(settings)["largest person"]
    assert (check.level, check.found) == (WARN, "nobody is named by 100 of 1,100 e-mail events (9.1%)")
    with open_warehouse(settings) as warehouse:
        change_setting(warehouse, "max_person_share", "0.5")
    assert found(settings)["largest person"].level == OK
