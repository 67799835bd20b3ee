"""Checks of the figures: revenue that sums leave out."""

from datetime import UTC, datetime
from pathlib import Path

import psycopg

from loader.config import Settings
from loader.monitoring.figure_checks import check_figures
from loader.monitoring.results import OK, WARN, Check
from loader.schema.source import open_warehouse
from loader.views.refresh import refresh
from loader.views.settings import change_setting


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
