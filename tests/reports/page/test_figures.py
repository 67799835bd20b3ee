"""The figures of a report: those of the views, for a period and a campaign, read from stored figures only."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest

from loader.config import Settings, data_root
from loader.errors import UsageError
from loader.postgres.connection import operation
from loader.reports.page.figures import Figures, Scope, read_figures
from loader.reports.page.periods import Period
from loader.schema.source import open_warehouse
from loader.views.refresh import refresh
from tests.support.loading import event, load_events, select, tables

QUARTER = Scope(date(2025, 10, 1), date(2025, 12, 31))
#: Delivered messages to which something happened, as columns.
DELIVERED_AND = [
    f"count({name}_at) filter (where delivered_at is not null) as {name}"
    for name in ("opened", "human_opened", "human_clicked", "unsubscribed")
]
QUERIES = sorted(path.stem for path in (data_root() / "sql/operations/report").glob("*.sql"))


def read(settings: Settings, scope: Scope) -> Figures:
    with open_warehouse(settings) as warehouse:
        return read_figures(warehouse, scope)


@pytest.fixture(scope="module", params=[None, "10412"], ids=["all", "one campaign"])
def scope(request: pytest.FixtureRequest) -> Scope:
    """A quarter, of all campaigns and of one."""
    return replace(QUARTER, campaign=request.param)


@pytest.fixture(scope="module")
def figures(sampled: Settings, scope: Scope) -> Figures:
    return read(sampled, scope)


def chosen(scope: Scope, day: str) -> str:
    """Return the condition of a quarter and a campaign."""
    campaign = "" if scope.campaign is None else f" and campaign_id = '{scope.campaign}'"
    return f"({day})::date between '{scope.first}' and '{scope.last}'{campaign}"


def test_the_sums_are_those_of_the_messages(sampled: Settings, scope: Scope, figures: Figures) -> None:
    (expected,) = select(
        sampled,
        f"""
        select count(*) filter (where delivered_at is not null or bounced_at is not null) as attempted,
            count(delivered_at) as delivered, {", ".join(DELIVERED_AND)}
        from email_messages where {chosen(scope, "coalesce(delivered_at, bounced_at)")}
        """,
    )
    found = figures.sum(figures.period)
    assert {name: getattr(found, name) for name in expected} == expected
    assert found.human_clicked > 0


def test_conversions_and_revenue_are_those_of_the_days(sampled: Settings, scope: Scope, figures: Figures) -> None:
    query = f"select sum(conversions) as c, sum(revenue) as r from campaign_days where {chosen(scope, 'delivery_day')}"
    (expected,) = select(sampled, query)
    found = figures.sum(figures.period)
    assert (found.conversions, found.revenue) == (expected["c"] or 0, expected["r"] or 0)


def test_every_day_has_its_own_sums(sampled: Settings, figures: Figures, scope: Scope) -> None:
    rows = select(
        sampled,
        f"select delivery_day as day, sum(delivered) as delivered from campaign_days where "
        f"{chosen(scope, 'delivery_day')} group by delivery_day",
    )
    found = {day: sums.delivered for day, sums in figures.days.items() if figures.period.has(day)}
    assert found == {row["day"]: row["delivered"] for row in rows}


def test_opens_by_hour_are_those_of_the_messages(sampled: Settings, scope: Scope, figures: Figures) -> None:
    rows = select(
        sampled,
        f"""
        select extract(isodow from human_opened_at) as weekday, extract(hour from human_opened_at) as hour,
            count(*) as n
        from email_messages where human_opened_at is not null and {chosen(scope, "delivered_at")} group by 1, 2
        """,
    )
    assert figures.hours == {(row["weekday"], row["hour"]): row["n"] for row in rows}
    assert sum(figures.hours.values()) == figures.sum(figures.period).human_opened > 0


@pytest.mark.parametrize("is_whole", [True, False])
def test_models_have_what_they_credit_to_orders_of_each_month(sampled: Settings, *, is_whole: bool) -> None:
    query = "select mode() within group (order by campaign_id) as campaign_id from conversions_attributed"
    campaign = None if is_whole else select(sampled, query)[0]["campaign_id"]
    condition = "" if is_whole else f"and campaign_id = '{campaign}'"
    rows = select(
        sampled,
        f"""
        select model, extract(month from converted_at)::int as month, sum(attributed_revenue) as revenue
        from conversions_attributed where campaign_id is not null {condition} group by 1, 2
        """,
    )
    expected = {(row["model"], row["month"]): row["revenue"] for row in rows}
    assert expected
    for month in range(1, 13):
        first, last = date(2025, month, 1), date(2025 + month // 12, month % 12 + 1, 1) - timedelta(days=1)
        models = read(sampled, Scope(first, last, campaign=campaign)).models
        assert {model.name: model.revenue for model in models} == {
            model.name: expected.get((model.name, month), 0) for model in models
        }
        assert len(models) == 5
        assert [model.name for model in models if model.is_default] == ["last_human_click"]
        assert [model.revenue for model in models] == sorted((model.revenue for model in models), reverse=True)


def test_links_have_their_clicks(sampled: Settings, scope: Scope, figures: Figures) -> None:
    rows = select(
        sampled,
        f"""
        select link_name, campaign_id, count(*) as clicks, count(*) filter (where actor = 'human') as human_clicks
        from email_events where event = 'email_link_clicked' and {chosen(scope, "timestamp")} group by 1, 2
        """,
    )
    expected = sorted(((row["human_clicks"], row["clicks"]) for row in rows), reverse=True)
    found = [(link.human_clicks, link.clicks) for link in figures.links]
    assert [human for human, _ in found] == [human for human, _ in expected if human][:6]
    assert set(found) <= set(expected)


def test_only_a_report_of_all_campaigns_compares_campaigns_and_domains(
    sampled: Settings, scope: Scope, figures: Figures
) -> None:
    if scope.campaign:
        assert (figures.campaigns, figures.domains, figures.largest) == ([], [], [])
        assert figures.campaign_name == "Welcome series"
        return
    rows = select(
        sampled,
        f"""
        select campaign_id, sum(delivered) as delivered, sum(revenue) as revenue from campaign_days
        where {chosen(scope, "delivery_day")} group by 1 having sum(delivered) > 0 order by 3 desc, 2 desc, 1 limit 10
        """,
    )
    assert [(one.campaign_id, one.delivered, one.revenue) for one in figures.campaigns] == [
        (row["campaign_id"], row["delivered"], row["revenue"]) for row in rows
    ]
    rows = select(
        sampled,
        f"""
        select mailbox_domain, count(*) as attempted, count(delivered_at) as delivered, count(bounced_at) as bounced,
            count(human_opened_at) filter (where delivered_at is not null) as human_opened
        from email_messages where {chosen(scope, "coalesce(delivered_at, bounced_at)")} and mailbox_domain is not null
        group by 1 order by 2 desc, 1
        """,
    )
    assert len(figures.domains) > 5
    for row in rows:  # a message without an address counts for that of its person's latest delivery
        (domain,) = (one for one in figures.domains if one.name == row["mailbox_domain"])
        assert domain.attempted >= row["attempted"]
        assert domain.delivered >= row["delivered"]
    assert sum(one.attempted for one in figures.domains) == figures.sum(figures.period).attempted
    assert {mailing.day for mailing in figures.largest} == {
        day for day, sums in figures.days.items() if sums.delivered and figures.period.has(day)
    }


def test_the_source_is_described(sampled: Settings, figures: Figures) -> None:
    (events,) = select(sampled, "select sum(events_loaded) as n from loads")
    assert figures.source[:3] == ("UTC", True, "EUR")
    assert figures.source.events == events["n"]
    assert datetime.now(UTC) - figures.source.loaded_until < timedelta(hours=2)
    coverage = "select sum(share_of_events) as share from identity_coverage where matched_by in ('user_id', 'email')"
    (expected,) = select(sampled, coverage)
    assert figures.identified is not None
    assert round(figures.identified, 3) == round(expected["share"], 3)
    assert 0.9 < figures.identified < 1


def relations(plan: Any) -> Iterator[tuple[str, str]]:
    """Yield the schema and name of each relation that a plan reads."""
    if isinstance(plan, dict):
        if "Relation Name" in plan:
            yield plan["Schema"], plan["Relation Name"]
        plan = list(plan.values())
    if isinstance(plan, list):
        for part in plan:
            yield from relations(part)


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_reads_stored_figures_and_no_event_table(sampled: Settings, query: str) -> None:
    parameters = {"first": QUARTER.first, "last": QUARTER.last, "earliest": QUARTER.first, "campaign": None}
    text = f"explain (format json, verbose) {operation(f'report/{query}')}"
    with psycopg.connect(sampled.database_url or "") as connection:
        connection.execute("set search_path to selligent, selligent_ops")
        ((plan,),) = connection.execute(text, {**parameters, "has_site": True, "percent": 100}).fetchall()
    read = set(relations(json.loads(json.dumps(plan))))
    assert read
    assert {name for schema, name in read if schema == "selligent"} <= {"settings"}
    assert not {name for _, name in read} & set(tables(sampled))


def test_the_period_ends_with_the_last_day_and_begins_with_the_first(sampled: Settings) -> None:
    (ends,) = select(sampled, "select min(delivery_day), max(delivery_day) from campaign_days where attempted > 0")
    ninety = read(sampled, Scope())
    assert ninety.period == Period(ends["max"] - timedelta(days=89), ends["max"])
    assert ninety.is_compared
    year = read(sampled, Scope(days=1000))
    assert year.period == Period(ends["min"], ends["max"])
    assert not year.is_compared


def test_a_campaign_is_reported_until_a_week_after_its_last_email(sampled: Settings) -> None:
    query = """
        select campaign_id, min(delivery_day) as first, max(delivery_day) as last from campaign_days
        group by 1 having max(delivery_day) < '2025-06-01' and sum(attempted) > 0 limit 1
    """
    (campaign,) = select(sampled, query)
    period = read(sampled, Scope(campaign=campaign["campaign_id"])).period
    assert period == Period(campaign["first"], campaign["last"] + timedelta(days=7))


@pytest.mark.parametrize(
    ("scope", "message"),
    [
        (Scope(campaign="nope"), "there is no campaign 'nope'"),
        (Scope(last=date(2024, 1, 1)), "there are no e-mails from .* to 2024-01-01; there are from 2025-01-01"),
        (Scope(date(2026, 3, 1), date(2026, 3, 2)), "there are no e-mails from 2026-03-01"),
        (Scope(date(2025, 3, 2), date(2025, 3, 1)), "2025-03-02, is after the last one"),
    ],
)
def test_what_cannot_be_reported_is_refused(sampled: Settings, scope: Scope, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read(sampled, scope)


def test_without_emails_there_is_no_report(settings: Settings) -> None:
    with pytest.raises(UsageError, match="load events first"):
        read(settings, Scope())


def test_without_a_site_there_are_no_orders(settings: Settings, tmp_path: Any) -> None:
    delivered = event(event="Email Delivered", properties={"campaign_id": "c", "campaign_name": "C", "email_id": "e"})
    load_events(settings, [delivered], tmp_path)
    refresh(settings)
    figures = read(settings, Scope())
    assert figures.source[1:3] == (False, None)
    assert figures.models == []
    assert figures.period == Period(date(2025, 1, 1), date(2025, 1, 1))
    assert figures.sum(figures.period)[:2] == (1, 1)
    assert figures.domains == []
