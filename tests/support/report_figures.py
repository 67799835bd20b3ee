"""Figures for reports in tests: a quarter with mailings, machines, a site and several mailbox providers."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from loader.reports.page.figures import Campaign, Domain, Figures, Link, Mailing, Model, Source, Sums
from loader.reports.page.periods import Period

QUARTER = Period(date(2025, 10, 1), date(2025, 12, 31))
#: Every so many days a mailing goes out.
MAILING_EVERY = 9


def make_figures(**changes: Any) -> Figures:
    """Return figures with these fields changed."""
    figures = Figures(
        schema="selligent",
        period=QUARTER,
        source=Source("Europe/Brussels", True, "EUR", datetime(2026, 1, 1, 7, 5, tzinfo=UTC), 25085),
        identified=Decimal("0.94"),
        campaign_name=None,
        is_compared=True,
        days=make_days(),
        hours={(weekday, hour): 10 + 2 * hour for weekday in range(1, 8) for hour in range(6, 22)} | {(5, 12): 190},
        models=[
            Model("last_delivery", False, "3 days", Decimal(7908)),
            Model("last_human_click", True, "5 days", Decimal("4760.4")),
            Model("linear_clicks", False, "5 days", Decimal(4760)),
        ],
        links=[Link("Main button", "Cart reminder", 40, 56), Link(None, "Welcome series", 33, 51)],
        campaigns=[
            Campaign("1", "Welcome series", 2077, 420, 44, 1, Decimal(7), Decimal(743)),
            Campaign("2", 'Vente privée "Été" 2025-12-26', 1429, 284, 33, 1, Decimal(5), Decimal(401)),
            Campaign("3", None, 436, 84, 12, 0, Decimal("2.5"), Decimal(287)),
        ],
        largest=[Mailing(day, f"Mailing {day}", sums.delivered) for day, sums in make_days().items()],
        domains=[
            Domain("quickmail.example", 5367, 5284, 83, 2, 1700, 1070),
            Domain("icebox.example", 1169, 1157, 12, 0, 1088, 93),
        ],
    )
    return replace(figures, **changes)


def make_days() -> Mapping[date, Sums]:
    """Return a year of days, of which the last one is that of the quarter; some are those of mailings."""
    days = {}
    for number in range(365):
        delivered = 600 + 5 * (number % 41) if number % MAILING_EVERY == 0 else 50 + number % 7
        counts = delivered + 4, delivered, delivered * 3 // 10, delivered // 5, delivered // 40, delivered // 500
        days[QUARTER.last - timedelta(days=number)] = Sums(*counts, Decimal(delivered // 300), Decimal(delivered // 3))
    return days
