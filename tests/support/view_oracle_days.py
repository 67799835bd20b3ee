"""A second implementation of the views by day, hour and week, from the events and messages of the model."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from tests.support.view_oracle import CLICK, MODELS, Metrics

#: Figures of messages that several views have, in the order in which `figures` returns them.
FIGURES = (
    *("attempted", "delivered", "arrived", "bounced", "opened", "human_opened", "clicked", "human_clicked"),
    *("opened_or_clicked", "human_opened_or_clicked", "unsubscribed", "complained"),
)


def figures(row: dict[str, Any]) -> Counter[str]:
    """Return what a message adds to each figure."""
    delivered = row["delivered_at"] is not None
    found = Counter({"attempted": int(delivered or row["bounced_at"] is not None), "delivered": int(delivered)})
    found["bounced"] = int(row["bounced_at"] is not None)
    found["arrived"] = int(delivered and row["bounced_at"] is None)
    for figure in ("opened", "human_opened", "clicked", "human_clicked", "unsubscribed", "complained"):
        found[figure] = int(delivered and row[f"{figure}_at"] is not None)
    found["opened_or_clicked"] = found["opened"] | found["clicked"]
    found["human_opened_or_clicked"] = found["human_opened"] | found["human_clicked"]
    return found


def dated_at(row: dict[str, Any]) -> datetime:
    """Return when a message counts: its delivery, else its bounce, else its first event."""
    others = (row[name] for name in ("opened_at", "clicked_at", "unsubscribed_at", "complained_at"))
    at = row["delivered_at"] or row["bounced_at"] or min(filter(None, others))
    assert isinstance(at, datetime)
    return at


def local(metrics: Metrics, at: datetime) -> datetime:
    return at.astimezone(ZoneInfo(metrics.world.zone))


def campaign_days(metrics: Metrics) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Return figures, conversions and revenue by campaign, day and dimensions."""
    found: dict[tuple[Any, ...], Counter[str]] = defaultdict(Counter)
    for key, row in metrics.messages.items():
        credited = metrics.credited(key)
        day = found[key[1], local(metrics, dated_at(row)).date(), *metrics.dimensions[key]]
        day.update(figures(row))
        day.update({"conversions": len(credited), "converted": int(bool(credited) and key[3] > 0)})
        day.update({"revenue": metrics.revenue(key)})
    names = (*FIGURES, "conversions", "converted", "revenue")
    rows = {key: {name: day[name] for name in names} for key, day in found.items()}
    return {key: row for key, row in rows.items() if row["attempted"] or row["conversions"] or row["revenue"]}


def send_times(metrics: Metrics) -> dict[tuple[Any, ...], tuple[int, ...]]:
    """Return figures of delivered messages by campaign, day, weekday, its name, and hour."""
    found: dict[tuple[Any, ...], Counter[str]] = defaultdict(Counter)
    for (_, campaign, _, _), row in metrics.messages.items():
        if row["delivered_at"]:
            at = local(metrics, row["delivered_at"])
            found[campaign, at.date(), at.isoweekday(), f"{at:%A}", at.hour].update(figures(row))
    names = ("delivered", "opened", "human_opened", "clicked", "human_clicked", "unsubscribed")
    return {key: tuple(row[name] for name in names) for key, row in found.items()}


def mailbox_domain_days(metrics: Metrics) -> dict[tuple[str | None, date], tuple[int, ...]]:
    """Return figures by domain and day."""
    addresses = {person: row[0] or "" for person, row in metrics.recipients().items()}
    found: dict[tuple[str | None, date], Counter[str]] = defaultdict(Counter)
    for (person, *_), row in metrics.messages.items():
        domain = (row["email"] or addresses[person]).rpartition("@")[2] or None
        found[domain, local(metrics, dated_at(row)).date()].update(figures(row))
    names = [name for name in FIGURES if "_or_" not in name]
    return {key: tuple(row[name] for name in names) for key, row in found.items() if row["attempted"]}


def link_days(metrics: Metrics) -> dict[tuple[str, str, str, date], tuple[int, int]]:
    """Return clicks, and clicks by people, by campaign, e-mail, link and day."""
    found: dict[tuple[str, str, str, date], list[int]] = defaultdict(lambda: [0, 0])
    for judged in metrics.events:
        event = judged.event
        if event.event == CLICK:
            clicks = found[event.campaign, event.email, event.link or "", local(metrics, event.at).date()]
            clicks[0] += 1
            clicks[1] += judged.actor == "human"
    return {key: (clicks, human) for key, (clicks, human) in found.items()}


def revenue_days(metrics: Metrics) -> dict[tuple[Any, ...], tuple[Decimal, Decimal, Decimal]]:
    """Return credits, revenue and revenue in the reporting currency by model, campaign, day and currency."""
    sales = {sale.id: sale for sale in metrics.sales}
    found: dict[tuple[Any, ...], list[Decimal]] = defaultdict(lambda: [Decimal(0)] * 3)
    for sale_id, model, message, credit in (*metrics.credits, *metrics.refund_credits):
        sale = sales[sale_id]
        if message:
            sums = found[model, message[0], local(metrics, sale.at).date(), sale.currency]
            sums[0] += 0 if sale.is_refund else credit
            sums[1] += credit * (sale.revenue or 0)
            sums[2] += credit * (metrics.amount(sale) or 0)
    assert {key[0] for key in found} <= MODELS.keys()
    return {key: (sums[0], sums[1], sums[2]) for key, sums in found.items()}


def first_deliveries(metrics: Metrics) -> dict[str, datetime]:
    """Return the first delivery by person."""
    found: dict[str, datetime] = {}
    for (person, *_), row in metrics.messages.items():
        if at := row["delivered_at"]:
            found[person] = min(at, found.get(person, at))
    return found


def list_growth(metrics: Metrics) -> dict[date, tuple[int, int, int, int]]:
    """Return first deliveries, unsubscribes, complaints and bounces by day."""
    found: dict[date, list[int]] = defaultdict(lambda: [0] * 4)
    for at in first_deliveries(metrics).values():
        found[local(metrics, at).date()][0] += 1
    for row in metrics.messages.values():
        for place, name in enumerate(("unsubscribed_at", "complained_at", "bounced_at"), start=1):
            if at := row[name]:
                found[local(metrics, at).date()][place] += 1
    return {day: (row[0], row[1], row[2], row[3]) for day, row in found.items()}


def week(metrics: Metrics, at: datetime) -> date:
    """Return the Monday of the week."""
    day = local(metrics, at).date()
    return day - timedelta(days=day.weekday())


def cohorts(metrics: Metrics) -> dict[tuple[date, int], tuple[int, ...]]:
    """Return people, and those who were active, clicked, converted and unsubscribed, by week and weeks since."""
    start = {person: week(metrics, at) for person, at in first_deliveries(metrics).items()}
    done: dict[tuple[date, int], list[set[str]]] = defaultdict(lambda: [set(), set(), set(), set()])
    for person, place, at in _deeds(metrics):
        if person in start and (since := (week(metrics, at) - start[person]).days // 7) >= 0:
            done[start[person], since][place].add(person)
    sizes = Counter(start.values())
    last = max((cohort + timedelta(weeks=since) for cohort, since in (*done, *((c, 0) for c in sizes))), default=None)
    found = {}
    for cohort, people in sizes.items():
        assert last is not None
        for since in range((last - cohort).days // 7 + 1):
            found[cohort, since] = (people, *(len(who) for who in done[cohort, since]))
    return found


def _deeds(metrics: Metrics) -> Iterator[tuple[str, int, datetime]]:
    """Yield a person, what they did (0 active, 1 clicked, 2 converted, 3 unsubscribed), and when."""
    for judged in metrics.events:
        name, at = judged.event.event, judged.event.at
        if name in ("email_opened", CLICK) and judged.actor == "human":
            yield judged.person, 0, at
        if name == CLICK and judged.actor == "human":
            yield judged.person, 1, at
        if name == "email_unsubscribed":
            yield judged.person, 3, at
    for order in metrics.orders:
        if person := metrics.person_on_site(order):
            yield person, 2, order.at
