"""The page of a report: its sections and texts, and what it does without."""

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from html.parser import HTMLParser

import pytest

from loader.errors import UsageError
from loader.reports.page.figures import Campaign, Figures, Link, Mailing, Sums
from loader.reports.page.html import write_page
from loader.reports.page.periods import Period
from tests.support.report_figures import QUARTER, make_figures

VOID = {"meta", "br", "link", "img", "rect", "line", "circle", "polygon", "polyline"}
SPACE = "\u00a0"


class Reader(HTMLParser):
    """Reads a page: checks that elements are nested, and collects texts, headlines, ids and references."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []
        self.titles: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.names: set[str] = set()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        for name, value in attributes:
            assert not name.startswith("on")
            if name == "id":
                self.ids.append(value or "")
            if name == "aria-labelledby":
                self.references.append(value or "")
            assert name not in {"src", "href", "action"}
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        assert tag in VOID

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            return
        self.texts.append(data)
        if self.open[-1:] == ["h2"]:
            self.titles.append(data.replace(SPACE, " "))

    @property
    def text(self) -> str:
        return " ".join(self.texts).replace(SPACE, " ")


def read(figures: Figures, locale: str = "en_GB") -> Reader:
    page = write_page(figures, locale)
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    assert len(page.encode()) < 100_000
    return reader


def titles(**changes: object) -> Sequence[str]:
    return read(make_figures(**changes)).titles


def test_a_page_has_all_sections_and_states_findings() -> None:
    assert titles() == [
        "Day by day",
        "Campaigns that sold most",
        "From sending to the order",
        "33 % of the opened e-mails only machines opened",
        "People open most on Fridays at 12:00",
        "Mailbox providers",
        "Whose credit?",
        "Links people follow",
    ]


def test_a_finding_that_chance_explains_is_not_stated() -> None:
    few = {day: Sums(2, 2, 1, 0, 0) for day in make_figures().days}
    found = titles(days=few | {QUARTER.last: Sums(30, 30, 6, 4, 1)}, hours={(1, 8): 3, (2, 9): 2})
    assert "Opens by people and by machines" in found
    assert "When people open" in found
    domains = [one._replace(bounced=400) if one.name == "icebox.example" else one for one in make_figures().domains]
    assert "E-mails to icebox.example bounce most" in titles(domains=domains)


def test_nothing_is_fetched_or_run() -> None:
    page = write_page(make_figures(), "en_GB")
    assert not re.search(r"https?:|url\(|@import|javascript|<script|<link|<img", page)


def test_every_reference_has_its_target() -> None:
    reader = read(make_figures())
    assert len(set(reader.ids)) == len(reader.ids)
    assert set(reader.references) <= set(reader.ids)
    assert len(reader.references) == 10


def test_every_chart_has_a_text_and_a_table() -> None:
    page = write_page(make_figures(), "en_GB")
    charts = re.findall(r"<svg.*?</svg>(?:</svg>)?", page)
    named = [chart for chart in charts if 'role="img"' in chart and "<title id=" in chart]
    assert len(named) == 2
    assert all('aria-hidden="true"' in chart for chart in charts if chart not in named)
    assert page.count("<details>") == 2
    assert page.count('<th scope="row">1 Oct</th>') == 1


def test_totals_are_compared_with_the_period_before() -> None:
    figures = make_figures()
    now, before = figures.sum(QUARTER), figures.sum(QUARTER.before)
    text = read(figures).text
    assert f"{now.delivered:,}" in text
    assert f"{100 * now.human_opened / now.delivered:.1f} %" in text
    assert f"€ {now.revenue:,}" in text
    change = round(100 * (now.delivered / before.delivered - 1))
    assert change > 0
    assert f"+{change} %" in text
    assert "1 October 2025 – 31 December 2025, 92 days, compared with the 92 days before" in text


@pytest.mark.parametrize(
    ("opened", "tone"), [(0.20, "even"), (0.201, "even"), (0.25, "better"), (0.15, "worse")], ids=str
)
def test_the_change_of_a_rate_is_coloured_if_it_is_more_than_chance(opened: float, tone: str) -> None:
    days = {day: Sums(100, 100, 40, round(100 * opened) if QUARTER.has(day) else 20, 5) for day in make_figures().days}
    if opened == 0.201:  # one e-mail of ten days
        days = {
            day: sums._replace(human_opened=20 + (day.day % 10 == 0 and QUARTER.has(day))) for day, sums in days.items()
        }
    changes = re.findall(r'class="change (\w+)"', write_page(make_figures(days=days), "en_GB"))
    assert changes == ["even", tone, "even", "even", "even"]


@pytest.mark.parametrize(("now", "tone"), [(2, "better"), (8, "worse")])
def test_more_unsubscriptions_are_worse(now: int, tone: str) -> None:
    days = {day: Sums(100, 100, 40, 20, 5, now if QUARTER.has(day) else 5) for day in make_figures().days}
    assert re.findall(r'class="change (\w+)"', write_page(make_figures(days=days), "en_GB"))[3] == tone


def test_without_earlier_data_nothing_is_compared() -> None:
    reader = read(make_figures(is_compared=False))
    assert "compared" not in reader.text
    assert "points" not in reader.text


def test_without_a_site_orders_and_revenue_are_left_out() -> None:
    figures = make_figures()
    reader = read(
        replace(
            figures,
            source=figures.source._replace(has_site=False, currency=None),
            models=[],
            days={day: sums._replace(conversions=Decimal(0), revenue=Decimal(0)) for day, sums in figures.days.items()},
            campaigns=[one._replace(conversions=Decimal(0), revenue=Decimal(0)) for one in figures.campaigns],
        )
    )
    assert reader.titles[1:3] == ["Campaigns with the most e-mails", "From sending to the click"]
    assert "Whose credit?" not in reader.titles
    assert not re.search(r"€|revenue|orders|ordered", reader.text)


def test_what_has_no_data_is_left_out() -> None:
    days = {QUARTER.last: Sums(3, 0, 0, 0, 0)}
    empty: dict[str, object] = {"hours": {}, "models": [], "links": [], "campaigns": [], "largest": [], "domains": []}
    assert titles(days=days, **empty) == ["Day by day", "From sending to the order"]


def test_one_campaign_is_named_and_not_compared_with_others() -> None:
    reader = read(make_figures(campaign_name="Café & <crème>", campaigns=[], largest=[], domains=[]))
    assert "Café & <crème>" in reader.texts
    assert {"Campaigns that sold most", "Mailbox providers"}.isdisjoint(reader.titles)
    assert "Cart reminder" not in reader.text.partition("Links people follow")[2]


def test_names_are_text_not_html() -> None:
    evil = "<script>\"&'</script>"
    figures = make_figures()
    reader = read(
        replace(
            figures,
            schema=evil,
            campaign_name=None,
            campaigns=[Campaign(evil, evil, 10, 2, 1, 0, Decimal(1), Decimal(5))] * 2,
            largest=[Mailing(QUARTER.last, evil, 900)],
            domains=[one._replace(name=evil) for one in figures.domains],
            models=[one._replace(name=evil) for one in figures.models],
            links=[Link(evil, evil, 4, 5)],
        )
    )
    assert "script" not in reader.names
    assert reader.text.count("<script>") >= 7


def test_more_orders_than_clicks_are_no_share_of_them() -> None:
    """Models that credit deliveries or opens lead to that."""
    days = {QUARTER.last: Sums(100, 80, 40, 20, 5, 0, Decimal("7.6"), Decimal(70))}
    steps = read(make_figures(days=days)).text.partition("From sending to the order")[2].partition("Opens by")[0]
    assert re.findall(r"[\d.]+(?: %)?", steps)[1:] == ["100", "80.0 %", "80", "25.0 %", "20", "25.0 %", "5", "8"]


def test_numbers_and_dates_follow_the_locale() -> None:
    reader = read(make_figures(), "fr_BE")
    text = reader.text.replace("\u202f", " ")
    assert "1 octobre 2025" in text
    assert "743 €" in text
    assert re.search(r"\d\d,\d %", text)
    with pytest.raises(UsageError, match="no locale 'nowhere'"):
        write_page(make_figures(), "nowhere")


@pytest.mark.parametrize(
    ("days", "title", "bars"), [(1, "Day by day", 1), (90, "Day by day", 90), (200, "Week by week", 28)]
)
def test_long_periods_are_shown_by_weeks(days: int, title: str, bars: int) -> None:
    period = Period(QUARTER.last - timedelta(days=days - 1), QUARTER.last)
    page = write_page(make_figures(period=period), "en_GB")
    assert title in page
    assert page.count("clicked by people</title>") == bars


def test_the_highest_bars_have_the_names_of_their_largest_mailings() -> None:
    """Near a named bar none is named, nor a low one."""
    peaks = {date(2025, 11, day): deliveries for day, deliveries in ((5, 900), (9, 850), (20, 800))}
    peaks |= {date(2025, 12, 20): 700, date(2025, 10, 10): 200}
    days = {day: Sums(50, 50) for day in make_figures().days} | {day: Sums(n, n) for day, n in peaks.items()}
    largest = [Mailing(day, "Journey", 40) for day in days] + [Mailing(day, f"Sale {n}", n) for day, n in peaks.items()]
    page = write_page(make_figures(days=days, largest=largest), "en_GB")
    assert re.findall(r'class="name[^>]*>([^<]*)<', page) == ["Sale 900", "Sale 700"]
