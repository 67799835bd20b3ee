"""The views compared with a second implementation, for random events that arrive in any order."""

import os
import random
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, seed
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from psycopg import Connection

from loader.config import Settings
from loader.migrate import migrate
from loader.postgres.connection import Warehouse
from loader.sample import ndjson
from loader.views import rebuild as rebuilding
from loader.views.definitions import View
from loader.views.rebuild import FreshTables
from loader.views.refresh import refresh
from tests.support import view_oracle_days
from tests.support.loading import event, load_bytes, load_events, select
from tests.support.view_oracle import AMOUNTS, CLICK, DELIVERY, MODELS, Event, Identify, Metrics, Order, Visit, World
from tests.support.waiting import until

EVENTS = (
    *(DELIVERY, DELIVERY, DELIVERY, "email_opened", "email_opened", CLICK, CLICK, CLICK, "email_bounced"),
    *("email_unsubscribed", "email_marked_as_spam", "email_machine_opened"),
)
DAY = 24 * 3600
#: Seconds after the start: one second before, at and after each threshold and window.
OFFSETS = (
    *(0, 0, 1, 2, 3, 4, 5, 6, 7, 60, 3600, 7200, DAY, 3 * DAY - 1, 3 * DAY, 3 * DAY + 1),
    *(5 * DAY - 1, 5 * DAY, 5 * DAY + 1, 5 * DAY + 3600, 9 * DAY),
)
#: Days around both daylight saving changes in Brussels.
STARTS = (datetime(2025, 3, 29, 22, 30, tzinfo=UTC), datetime(2025, 10, 25, 22, 30, tzinfo=UTC))
#: Settings by which figures are computed for a while, until they are computed by the usual ones again.
OTHER_SETTINGS = {
    "burst_links": "1",
    "burst_seconds": "86400",
    "conversion_events": "",
    "default_model": "linear_clicks",
    "dimensions": "language",
    "exchange_rates": "",
    "machine_agents": "iphone",
    "machine_click_seconds": "7200",
    "machine_open_seconds": "7200",
    "placeholder_ids": "w0u0, w1u0, W20+news@x.example, null, n/a",
    "proxy_agents": "scanner",
    "refund_events": "",
    "reporting_currency": "usd",
    "reporting_time_zone": "Asia/Tokyo",
    "segment_schemas": "",
    "transactional_campaigns": "w0c0, w1c0, w2c1",
    "visit_window": "1 hour",
    "window_last_touch": "1 hour",
}
#: Properties that may be dimensions, with the collections that have a column for each, and values as they are stored.
PROPERTIES = {
    "language": (("email_delivered", "email_opened", "email_machine_opened", CLICK), ("fr", "nl", "", "{}")),
    "tier": (("email_delivered", "email_unsubscribed"), ("1", "2")),
}
AGENTS = (None, None, "Mozilla/5.0", "Mozilla/5.0 (iPhone)", "x GoogleImageProxy", "YahooMailProxy", "scanner 1.0")


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Return several independent small worlds as one."""
    rng = random.Random(draw(st.integers(0, 2**32)))
    world = World(zone=rng.choice(["UTC", "Europe/Brussels", "America/New_York"]), burst_links=rng.choice([2, 3]))
    transactional = set()
    world.currency = rng.choice(("", "", "EUR", " gbp"))
    world.dimensions = rng.choice(((), ("tier",), ("tier", "language")))
    for day in range(rng.choice((0, 4))):
        start = rng.choice(STARTS).date() + timedelta(days=rng.randint(-1, 5))
        rate = rng.choice((Decimal("0.5"), Decimal("1.25")))
        world.rates.append((start, rng.choice(("EUR", "USD", "$")), rate + day))
    for number in range(draw(st.integers(30, 60))):
        add_small_world(world, rng, f"w{number}")
        if rng.random() < 0.2:
            transactional.add(f"w{number}c1")
    return replace(world, transactional=frozenset(transactional))


def add_small_world(world: World, rng: random.Random, name: str) -> None:
    """Add a few people, at most three campaigns, and their events."""
    start = rng.choice(STARTS)
    people = rng.choice((1, 3))  # few people, so that each has many events per e-mail
    users = [f"{name}u{i}" for i in range(people)]
    addresses = [f"{name}{i}@{rng.choice(('x.example', 'bücher.example'))}" for i in range(people)]
    addresses += [addresses[0].replace("@", "+news@")]
    browsers = [f"{name}b{i}" for i in range(2)]
    nobody = rng.choice(((), ("null", "", " N/A\u00a0")))
    emails = rng.choice((("m1",), ("m1", "m1", "m2", "")))
    span = rng.choice((9, 15, len(OFFSETS)))

    def at() -> datetime:
        return start + timedelta(seconds=rng.choice(OFFSETS[:span]) + rng.choice((0, 0, 0, DAY)))

    def spelled(address: str) -> str:
        encoded = address.replace("bücher", "xn--bcher-kva")
        spellings = (address, address.upper(), f" {address} ", f"\u3000{address}", encoded, *nobody)
        others = unicodedata.normalize("NFD", address), address.replace("@", " @")
        return str(rng.choice((*spellings, *others)))

    for i in range(rng.randrange(14)):
        user = rng.choice((None, None, *users[: rng.randint(1, people)], *nobody))
        happened = at()
        event = rng.choice(EVENTS)
        world.events.append(
            Event(
                id=f"{name}e{i}",
                event=event,
                at=happened,
                original=None if rng.random() < 0.1 else happened - timedelta(seconds=rng.choice((0, 1))),
                campaign=rng.choice((f"{name}c0", f"{name}c0", f"{name}c1", "" if rng.random() < 0.1 else f"{name}c1")),
                name=rng.choice((None, "Name", "Renamed")),
                email=rng.choice(emails),
                user=user,
                anonymous=None
                if user in users
                else rng.choice((*[spelled(rng.choice(addresses))] * 5, "visitor", None)),
                trait=spelled(rng.choice(addresses)) if rng.random() < 0.5 else None,
                link=rng.choice((None, "l1", "l2", "l3")) if event == CLICK else None,
                agent=rng.choice(AGENTS),
                properties=tuple(
                    (name, rng.choice(values))
                    for name, (tables, values) in PROPERTIES.items()
                    if event in tables and rng.random() < 0.6
                ),
            )
        )
    calls: list[Identify] = []
    for _ in range(rng.randrange(4)):
        email = spelled(rng.choice(addresses)) if rng.random() < 0.8 else None
        browser = rng.choice((None, *browsers, *nobody))
        happened = at()
        if calls and rng.random() < 0.4:  # at once with another one, perhaps at the same address
            happened, email = calls[-1].at, rng.choice((email, calls[-1].email))
        calls.append(Identify(happened, rng.choice((None, *users, *nobody)), browser, email))
    world.identifies += calls
    for i in range(rng.randrange(3)):
        who = rng.choice((None, *users, *nobody)), rng.choice((None, *browsers, *nobody))
        world.visits.append(Visit(f"{name}v{i}", at(), *who))
    for i in range(rng.randrange(5)):
        who = rng.choice((None, *users, *nobody)), rng.choice((None, *browsers, *nobody))
        number = rng.choice((None, "", " ", *nobody, f"{name}o1", f"{name}o1", f"{name}o2"))
        sent, money = rng.choice((None, "7", "19.99", *AMOUNTS)), rng.choice((None, None, "EUR", "eur ", "USD", ""))
        world.orders.append(Order(f"{name}p{i}", at(), *who, number, sent, money, rng.random() < 0.2))


@pytest.fixture
def connection(settings: Settings) -> Iterator[Connection[Any]]:
    """A migrated database with empty site tables in schema `site`."""
    with psycopg.connect(settings.database_url or "", autocommit=True) as connection:
        connection.prepare_threshold = None  # the setting dimensions changes the columns of views
        connection.execute(
            """
            set search_path to selligent;
            alter table email_delivered add column language text, add column tier bigint;
            alter table email_opened add column language text;
            alter table email_link_clicked add column language text;
            alter table email_unsubscribed add column tier bigint;
            create table email_machine_opened (like email_opened including all);
            create schema site;
            create table site.identifies (
                id text, user_id text, anonymous_id text, email text, "timestamp" timestamptz,
                uuid_ts timestamptz default now()
            );
            create table site.users (
                id text, email text, received_at timestamptz, uuid_ts timestamptz default now()
            );
            create table site.pages (
                id text, user_id text, anonymous_id text, "timestamp" timestamptz, url text,
                uuid_ts timestamptz default now()
            );
            create table site.order_completed (
                id text, user_id text, anonymous_id text, "timestamp" timestamptz, order_id text, revenue text,
                currency text, uuid_ts timestamptz default now()
            );
            create table site.order_refunded (like site.order_completed including defaults);
            create table site.rates (date date, currency text, rate numeric);
            update settings set value = 'site.rates' where name = 'exchange_rates';
            update settings set value = 'site' where name = 'segment_schemas';
            """
        )
        # The session's time zone differs from the reporting time zone, and must not affect results.
        connection.execute(f"alter database {connection.info.dbname} set timezone = 'Europe/Brussels'".encode())
        yield connection


def clear(connection: Connection[Any], world: World) -> None:
    connection.execute(
        """
        truncate tracks, email_delivered, email_opened, email_link_clicked, email_bounced, email_unsubscribed,
            email_marked_as_spam, email_machine_opened, selligent_ops.chunks,
            site.identifies, site.users, site.pages, site.order_completed, site.order_refunded, site.rates
        """
    )
    for name, value in {
        "reporting_currency": world.currency,
        "reporting_time_zone": world.zone,
        "burst_links": str(world.burst_links),
        "transactional_campaigns": ", ".join(sorted(world.transactional)),
        "dimensions": ", ".join(world.dimensions),
    }.items():
        connection.execute("update settings set value = %s where name = %s", (value, name))


def store(connection: Connection[Any], world: World) -> None:
    """Insert rows as a load and Segment would."""
    with connection.transaction(), connection.cursor() as cursor:
        if world.events:
            chunk = "insert into selligent_ops.chunks (uuid_ts, events) values (now(), %s)"
            cursor.execute(chunk, [len(world.events)])
        for event in world.events:
            own = (", link_id" if event.event == CLICK else "") + "".join(f", {name}" for name, _ in event.properties)
            values = (
                event.id, event.anonymous, event.user, event.event, event.event, event.agent, event.trait,
                event.original, event.at, event.at,
            )  # fmt: skip
            columns = "id, anonymous_id, user_id, event, event_text, context_user_agent, context_traits_email, "
            columns += 'original_timestamp, received_at, "timestamp"'
            places = ", ".join(["%s"] * 10)
            cursor.execute(f"insert into tracks ({columns}) values ({places})".encode(), values)
            more = [event.campaign or None, event.name, event.email or None]
            more += [*([event.link] if event.event == CLICK else []), *(value for _, value in event.properties)]
            cursor.execute(
                f"insert into {event.event} ({columns}, campaign_id, campaign_name, email_id{own}) "
                f"values ({places}, {', '.join(['%s'] * len(more))})".encode(),
                (*values, *more),
            )
        for call in world.identifies:
            if call.user and not call.anonymous:
                row: tuple[Any, ...] = (call.user, call.email, call.at)
                cursor.execute("insert into site.users (id, email, received_at) values (%s, %s, %s)", row)
            else:
                row = (call.user, call.anonymous, call.email, call.at)
                cursor.execute("insert into site.identifies values ('i', %s, %s, %s, %s)", row)
        for visit in world.visits:
            row = (visit.id, visit.user, visit.anonymous, visit.at)
            cursor.execute("insert into site.pages values (%s, %s, %s, %s, 'https://x.example/')", row)
        for order in world.orders:
            row = (order.id, order.user, order.anonymous, order.at, order.number, order.sent, order.money)
            table = "order_refunded" if order.is_refund_event else "order_completed"
            cursor.execute(f"insert into site.{table} values (%s, %s, %s, %s, %s, %s, %s)".encode(), row)
        for rate in world.rates:
            cursor.execute("insert into site.rates values (%s, %s, %s)", rate)


def parts(world: World, rng: random.Random) -> list[World]:
    """Split a world into up to three parts, in any order."""
    split = [World() for _ in range(rng.randint(1, 3))]
    for kind in ("events", "identifies", "visits", "orders", "rates"):
        for item in getattr(world, kind):
            getattr(rng.choice(split), kind).append(item)
    return split


def snapshot(connection: Connection[Any]) -> dict[str, list[Any]]:
    """Return all rows of all views: numbers that stand for texts differ after a rebuild."""
    query = "select viewname from pg_views where schemaname = 'selligent' and viewname <> 'load_health'"
    views = [name for (name,) in connection.execute(query)]
    return {view: sorted(map(repr, connection.execute(f"select * from {view}".encode()))) for view in views}


@pytest.mark.slow
@seed(int(os.environ.get("SELLIGENT_TEST_SEED", "1")))
@hypothesis_settings(
    max_examples=int(os.environ.get("SELLIGENT_TEST_WORLDS", "16")),
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    report_multiple_bugs=False,
)
@given(world=worlds(), order=st.integers(0, 2**32))
def test_the_figures_are_those_of_the_model_however_the_data_came(
    settings: Settings, connection: Connection[Any], world: World, order: int
) -> None:
    clear(connection, world)
    refresh(settings, rebuild=True)
    rng = random.Random(order)
    usual = dict(connection.execute("select name, value from settings"))
    for part in parts(world, rng):
        store(connection, part)
        for name in rng.sample(sorted(OTHER_SETTINGS), rng.choice((0, 1, 3))):
            connection.execute("update settings set value = %s where name = %s", (OTHER_SETTINGS[name], name))
        refresh(settings, full=rng.random() < 0.2, rebuild=rng.random() < 0.05)
    for name, value in usual.items():
        connection.execute("update settings set value = %s where name = %s", (value, name))
    refresh(settings)
    metrics = Metrics(world, reporting_currency(connection, world))
    compare_events(connection, metrics)
    compare_messages(connection, metrics)
    compare_campaigns(connection, metrics)
    compare_attribution(connection, metrics)
    compare_days(connection, metrics)
    check_totals(connection, metrics)
    before = snapshot(connection)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rebuilding, "MANY_EVENTS", rng.choice((0, rebuilding.MANY_EVENTS)))
        refresh(settings, rebuild=True)
    assert snapshot(connection) == before


def test_columns_of_views_and_what_they_read_may_change_at_once(
    settings: Settings, connection: Connection[Any]
) -> None:
    connection.execute("update settings set value = 'language' where name = 'dimensions'")
    refresh(settings)
    connection.execute("update settings set value = '' where name in ('dimensions', 'segment_schemas')")
    refresh(settings)
    columns = {column.name for column in connection.execute("select * from campaign_days").description or ()}
    assert "delivery_day" in columns
    assert "language" not in columns


def reporting_currency(connection: Connection[Any], world: World) -> str | None:
    """Return the currency of the figures, which depends on the order in which the data came."""
    ((currency,),) = connection.execute("select reporting_currency from selligent_ops.refreshed").fetchall()
    if world.currency:
        assert currency == world.currency.strip().upper()
    else:
        known = {order.currency for order in world.orders if order.revenue is not None} - {None}
        assert currency in known if known else currency is None
    return None if currency is None else str(currency)


def compare_events(connection: Connection[Any], metrics: Metrics) -> None:
    columns = "id, person, matched_by, campaign_id, email_id, delivery, delivered_at, actor, rule"
    query = f"select {', '.join((columns, *metrics.world.dimensions))} from email_events"
    expected = {
        (
            *(j.event.id, j.person, j.matched_by, *j.mailing[1:], j.delivery, j.delivered_at, j.actor, j.rule),
            *metrics.values(j.event),
        )
        for j in metrics.events
    }
    assert set(connection.execute(query.encode())) == expected
    keys = connection.execute(
        "select count(distinct event_key), count(event_key), count(*) from email_events"
    ).fetchone()
    assert keys == (len(metrics.events),) * 3
    links = connection.execute(
        "select campaign_id, email_id, coalesce(link_id, ''), clicks, human_clicks, people, human_people, "
        "first_clicked_at, last_clicked_at from links"
    )
    assert {tuple(row[:3]): tuple(row[3:]) for row in links} == metrics.links()


def compare_messages(connection: Connection[Any], metrics: Metrics) -> None:
    names = list(metrics._message([]))
    query = f"select person, campaign_id, email_id, delivery, {', '.join(names)} from email_messages"
    found = {tuple(row[:4]): dict(zip(names, row[4:], strict=True)) for row in connection.execute(query.encode())}
    assert found == metrics.messages
    if metrics.world.dimensions:
        columns = ", ".join(metrics.world.dimensions)
        query = f"select person, campaign_id, email_id, delivery, {columns} from email_messages"
        rows = connection.execute(query.encode())
        assert {tuple(row[:4]): tuple(row[4:]) for row in rows} == metrics.dimensions
    domains = connection.execute("select mailbox_domain, delivered from mailbox_domains").fetchall()
    assert dict(domains) == metrics.domains()
    query = """
        select person, email, delivered, last_delivered_at, last_human_clicked_at, unsubscribed_at, complained_at,
            conversions, revenue
        from recipients
    """
    assert {row[0]: tuple(row[1:]) for row in connection.execute(query)} == metrics.recipients()


def compare_campaigns(connection: Connection[Any], metrics: Metrics) -> None:
    expected = metrics.campaigns()
    for campaign, figures in expected.items():
        query = f"select {', '.join(figures)} from campaigns where campaign_id = %s"
        ((*values,),) = connection.execute(query.encode(), (campaign,)).fetchall()
        found = dict(zip(figures, values, strict=True))
        if found["time_to_open_median"] is not None:
            found["time_to_open_median"] = pytest.approx(found["time_to_open_median"].total_seconds(), rel=0.01)
        assert found == figures, campaign
    ((count,),) = connection.execute("select count(*) from campaigns").fetchall()
    assert count == len(expected)
    funnel: dict[str, list[int]] = {}
    for campaign, people in connection.execute("select campaign_id, people from campaign_funnel order by step_number"):
        funnel.setdefault(campaign, []).append(people)
    assert funnel == metrics.funnel()


def compare_days(connection: Connection[Any], metrics: Metrics) -> None:
    """Compare the views by day, hour and week."""
    names = (*view_oracle_days.FIGURES, "conversions", "converted", "revenue")
    keys = ("campaign_id", "delivery_day", *metrics.world.dimensions)
    days = connection.execute(f"select {', '.join((*keys, *names))} from campaign_days".encode())
    found = {tuple(row[: len(keys)]): dict(zip(names, row[len(keys) :], strict=True)) for row in days}
    assert found == view_oracle_days.campaign_days(metrics)
    query = """
        select campaign_id, delivery_day, weekday, weekday_name, delivery_hour,
            delivered, opened, human_opened, clicked, human_clicked, unsubscribed
        from send_times
    """
    assert read(connection, query, keys=5) == view_oracle_days.send_times(metrics)
    query = """
        select mailbox_domain, delivery_day, attempted, delivered, arrived, bounced, opened, human_opened, clicked,
            human_clicked, unsubscribed, complained
        from mailbox_domain_days
    """
    assert read(connection, query, keys=2) == view_oracle_days.mailbox_domain_days(metrics)
    query = "select campaign_id, email_id, coalesce(link_id, ''), click_day, clicks, human_clicks from link_days"
    assert read(connection, query, keys=4) == view_oracle_days.link_days(metrics)
    assert read(connection, "select * from list_growth", keys=1) == {
        (day,): row for day, row in view_oracle_days.list_growth(metrics).items()
    }
    assert read(connection, "select * from cohorts", keys=2) == view_oracle_days.cohorts(metrics)
    query = """
        select model, campaign_id, order_day, currency, conversions, revenue, attributed_revenue
        from attributed_revenue_days
    """
    revenue, expected = read(connection, query, keys=4), view_oracle_days.revenue_days(metrics)
    assert revenue.keys() == expected.keys()
    for key, row in revenue.items():
        assert row == pytest.approx(expected[key], abs=Decimal("0.05")), key


def read(connection: Connection[Any], query: str, keys: int) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """Return the rows of a query by their first columns."""
    return {tuple(row[:keys]): tuple(row[keys:]) for row in connection.execute(query.encode())}


def compare_attribution(connection: Connection[Any], metrics: Metrics) -> None:
    query = """
        select id, model, campaign_id, email_id, delivery, credit, attributed_revenue, reporting_revenue
        from conversions_attributed where is_refund = %s
    """
    amounts = {sale.id: metrics.amount(sale) for sale in metrics.sales}
    for is_refund, shares in ((False, metrics.credits), (True, metrics.refund_credits)):
        found = {
            (row[0], row[1], tuple(row[2:5]) if row[2] is not None else None): row[5:]
            for row in connection.execute(query, [is_refund])
        }
        expected = {(sale, model, message): credit for sale, model, message, credit in shares}
        assert found.keys() == expected.keys()
        for key, (credit, attributed, revenue) in found.items():
            share, amount = expected[key], amounts[key[0]]
            assert revenue == amount, key
            assert abs(credit - (0 if is_refund else share)) < Decimal("0.00001"), key
            assert (attributed is None) == (amount is None), key
            assert amount is None or abs(attributed - share * amount) < Decimal("0.05"), key
    conversions = connection.execute("select id, revenue, currency, order_id from conversions").fetchall()
    assert set(conversions) == {(order.id, order.revenue, order.currency, order.order) for order in metrics.orders}


def check_totals(connection: Connection[Any], metrics: Metrics) -> None:
    """Check totals, most of which must hold independently of the model."""
    world = metrics.world
    sums = connection.execute(
        """
        select schema_name, id, model, sum(credit), count(*) filter (where credit = 0), count(*),
            coalesce(sum(attributed_revenue), 0) <= max(coalesce(reporting_revenue, 0))
        from conversions_attributed where not is_refund group by schema_name, id, model
        """
    ).fetchall()
    assert len(sums) == len(MODELS) * len({order.order or order.id for order in world.orders if not order.is_refund})
    for _, _, _, credit, unattributed, rows, bounded in sums:
        assert (credit, unattributed) in {(1, 0), (0, 1)}
        assert unattributed == 0 or rows == 1
        assert bounded
    unread = sum(sale.is_unread for sale in metrics.sales)
    others = sum(sale.revenue is not None and metrics.amount(sale) is None for sale in metrics.sales)
    wrong = connection.execute(
        "select check_name, found from load_health where not is_ok order by check_name"
    ).fetchall()
    counts = {"revenue_other_currencies": others, "revenue_unread": unread}
    assert wrong == [(name, str(count)) for name, count in counts.items() if count]
    coverage = connection.execute("select sum(events), sum(share_of_events) from identity_coverage").fetchone()
    assert coverage == (len(world.events), pytest.approx(Decimal(1), abs=Decimal("0.0002")) if world.events else None)
    check_sums(connection)
    rates = connection.execute(
        """
        select max(greatest(delivery_rate, bounce_rate, open_rate, human_open_rate, click_rate, human_click_rate,
            click_to_open_rate, human_click_to_open_rate, recipient_open_rate, recipient_human_open_rate,
            recipient_click_rate, recipient_human_click_rate, unsubscribe_rate, complaint_rate, conversion_rate))
        from campaigns
        """
    ).fetchone()
    assert rates is not None
    assert rates[0] is None or rates[0] <= 1


#: The views that show a figure, and another expression for it; its sum must be the same in all of them.
FIGURES = {
    "attempted": (
        "campaigns campaign_days mailbox_domains mailbox_domain_days",
        "count(*) from email_messages where delivered_at is not null or bounced_at is not null",
    ),
    "delivered": (
        "campaigns campaign_days recipients mailbox_domains mailbox_domain_days send_times",
        "count(*) from email_events where event = 'email_delivered'",
    ),
    "arrived": (
        "campaigns campaign_days mailbox_domains mailbox_domain_days",
        "count(delivered_at) from email_messages where bounced_at is null",
    ),
    "bounced": (
        "campaigns campaign_days recipients mailbox_domains mailbox_domain_days list_growth",
        "count(bounced_at) from email_messages",
    ),
    "opened": (
        "campaigns campaign_days mailbox_domains mailbox_domain_days send_times",
        "count(opened_at) from email_messages where delivered_at is not null",
    ),
    "human_opened": (
        "campaigns campaign_days recipients mailbox_domains mailbox_domain_days send_times",
        "count(human_opened_at) from email_messages where delivered_at is not null",
    ),
    "clicked": (
        "campaigns campaign_days mailbox_domain_days send_times",
        "count(clicked_at) from email_messages where delivered_at is not null",
    ),
    "human_clicked": (
        "campaigns campaign_days recipients mailbox_domain_days send_times",
        "count(human_clicked_at) from email_messages where delivered_at is not null",
    ),
    "opened_or_clicked": (
        "campaigns campaign_days",
        "count(coalesce(opened_at, clicked_at)) from email_messages where delivered_at is not null",
    ),
    "human_opened_or_clicked": (
        "campaigns campaign_days",
        "count(coalesce(human_opened_at, human_clicked_at)) from email_messages where delivered_at is not null",
    ),
    "unsubscribed": (
        "campaigns campaign_days mailbox_domain_days send_times",
        "count(unsubscribed_at) from email_messages where delivered_at is not null",
    ),
    "complained": (
        "campaigns campaign_days mailbox_domains mailbox_domain_days",
        "count(complained_at) from email_messages where delivered_at is not null",
    ),
    "clicks": ("links link_days email_messages", "count(*) from email_events where event = 'email_link_clicked'"),
    "human_clicks": (
        "links link_days email_messages",
        "count(*) from email_events where event = 'email_link_clicked' and actor = 'human'",
    ),
    "conversions": (
        "campaigns campaign_days",
        "sum(credit) from conversions_attributed where is_default",
        "sum(conversions) from attributed_revenue_days where is_default",
    ),
    "converted": ("campaigns campaign_days",),
    "revenue": (
        "campaigns campaign_days",
        "sum(attributed_revenue) from recipients",
        "sum(attributed_revenue) from conversions_attributed where is_default",
        "sum(attributed_revenue) from attributed_revenue_days where is_default",
    ),
    "unsubscribes": (
        "",
        "sum(unsubscribed) from list_growth",
        "count(unsubscribed_at) from email_messages",
    ),
    "complaints": ("", "sum(complained) from list_growth", "count(complained_at) from email_messages"),
    "people": (
        "",
        "count(first_delivered_at) from recipients",
        "sum(first_deliveries) from list_growth",
        "sum(people) from cohorts where weeks_since = 0",
    ),
}
SUMS = {
    figure: (
        *(f"select sum({figure}) from {view}" for view in views.split()),
        *(f"select {expression}" for expression in others),
    )
    for figure, (views, *others) in FIGURES.items()
}


def check_sums(connection: Connection[Any]) -> None:
    """Check that what several views show has the same sum in each."""
    for figure, queries in SUMS.items():
        found = {query: connection.execute(query.encode()).fetchall()[0][0] or 0 for query in queries}
        assert len(set(found.values())) == 1, (figure, found)


def counted(connection: Connection[Any]) -> dict[str, tuple[int, int, int]]:
    """Return sequential scans, rows read by them and rows fetched by indexes of each table."""
    others = """
        select count(*) from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid()
    """
    until(lambda: connection.execute(others).fetchone() == (0,), 30)  # a session counts when it ends, or later
    query = """
        select schemaname || '.' || relname, seq_scan, seq_tup_read, coalesce(idx_tup_fetch, 0)
        from pg_stat_user_tables where schemaname like 'selligent%'
    """
    connection.execute("select pg_stat_force_next_flush(), pg_stat_clear_snapshot()")
    return {table: tuple(counts) for table, *counts in connection.execute(query)}


def test_a_refresh_of_one_event_reads_no_event_table_as_a_whole(
    settings: Settings, connection: Connection[Any], tmp_path: Path
) -> None:
    lines = [line for block in ndjson.lines(20_000, 1) for line in block.splitlines(keepends=True)]
    load_bytes(settings, b"".join(lines[:-1]), tmp_path, "most")
    refresh(settings)
    load_bytes(settings, lines[-1], tmp_path, "last")
    connection.execute("analyze")  # autovacuum would do it some time
    before = counted(connection)
    assert refresh(settings) == 1
    changes = {
        table: tuple(new - old for new, old in zip(counts, before[table], strict=True))
        for table, counts in counted(connection).items()
    }
    events = [table for table in changes if table.startswith(("selligent.email_", "selligent.tracks"))]
    assert len(events) == 8
    assert [table for table in events if changes[table][0]] == []
    # Before 18 a server counts all rows of the pages that a BRIN index names, 1 MB a table at least.
    counts_pages = connection.info.server_version < 180000
    read = {table: sum(rows) for table, (_, *rows) in changes.items() if not (counts_pages and table in events)}
    # The BRIN index names a range of 1 MB, in which some thousand rows are read beside the new one.
    assert sum(read.values()) < 5_000, str({k: v for k, v in read.items() if v > 50})


@pytest.mark.slow
def test_a_changed_setting_computes_what_it_touches_and_reads_no_events(
    settings: Settings, connection: Connection[Any]
) -> None:
    world = World()
    for number in range(300):
        add_small_world(world, random.Random(number), f"w{number}")
    world.rates.append((STARTS[0].date(), "USD", Decimal("0.5")))
    store(connection, world)
    connection.execute("update settings set value = '2' where name = 'burst_links'")
    refresh(settings)
    usual = dict(connection.execute("select name, value from settings"))
    for name, value in OTHER_SETTINGS.items():
        before, seen = counted(connection), snapshot(connection)
        connection.execute("update settings set value = %s where name = %s", (value, name))
        refresh(settings)
        after = counted(connection)
        events = [table for table in after if table.startswith(("selligent.email_", "selligent.tracks"))]
        # What is a placeholder no more, and properties, are in the events alone.
        if name not in ("dimensions", "placeholder_ids"):
            assert [table for table in events if after[table] != before[table]] == [], name
        found = snapshot(connection)
        assert found != seen, name
        refresh(settings, rebuild=True)
        assert snapshot(connection) == found, name
        connection.execute("update settings set value = %s where name = %s", (usual[name], name))
        refresh(settings)
        assert snapshot(connection) == seen, name


def test_rows_of_the_site_that_come_late_change_or_go_are_seen_within_the_look_back(
    settings: Settings, connection: Connection[Any], tmp_path: Path
) -> None:
    start = datetime(2025, 3, 1, 10, tzinfo=UTC)
    connection.execute("alter table site.pages drop column uuid_ts, add column received_at timestamptz")
    clicks = [
        event(event=name, messageId=name, timestamp=start.isoformat(), properties={"campaign_id": "c"})
        for name in ("Email Delivered", "Email Link Clicked")
    ]
    clicks[1]["timestamp"] = (start + timedelta(hours=1)).isoformat()
    load_events(settings, clicks, tmp_path)
    page = "insert into site.pages (id, user_id, timestamp, received_at) values (%s, %s, %s, %s)"
    visited, later = start + timedelta(hours=2), start + timedelta(days=20)
    connection.execute(page, ["other", "nobody", later, later])
    refresh(settings)

    def visitors(*, full: bool = False) -> int:
        refresh(settings, full=full)
        ((people,),) = connection.execute("select people from campaign_funnel where step = 'visited'").fetchall()
        return int(people)

    assert visitors() == 0
    connection.execute(page, ["late", "u1", visited, later - timedelta(days=2)])
    assert visitors() == 1
    connection.execute("update site.pages set timestamp = %s where id = 'late'", [start])
    assert visitors() == 0
    connection.execute("update site.pages set timestamp = %s where id = 'late'", [visited])
    assert visitors() == 1
    connection.execute("delete from site.pages where id = 'late'")
    assert visitors() == 0
    connection.execute(page, ["too late", "u1", visited, visited])
    assert (visitors(), visitors(full=True)) == (0, 1)


def test_a_full_refresh_sees_events_that_others_deleted(
    settings: Settings, connection: Connection[Any], tmp_path: Path
) -> None:
    load_events(settings, [event(messageId="m1"), event(messageId="m2")], tmp_path)
    refresh(settings)
    for table in ("tracks", "email_opened"):
        connection.execute(f"delete from {table} where id = 'm2'".encode())
    count = "select count(*) from email_events"
    refresh(settings)
    assert connection.execute(count).fetchall() == [(2,)]
    refresh(settings, full=True)
    assert connection.execute(count).fetchall() == [(1,)]


def test_readers_see_the_old_figures_until_all_new_ones_are_there(
    settings: Settings, connection: Connection[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_events(settings, [event(messageId="m1")], tmp_path)
    refresh(settings)
    load_events(settings, [event(messageId="m2")], tmp_path, "more")
    replace_tables, count, seen = FreshTables.replace, "select count(*) from selligent.email_events", []

    def read_first(tables: FreshTables, warehouse: Warehouse, views: list[View]) -> None:
        with psycopg.connect(settings.database_url or "") as reader:
            reader.execute("set lock_timeout = '1s'")
            seen.extend(reader.execute(count).fetchall())
        replace_tables(tables, warehouse, views)

    monkeypatch.setattr(FreshTables, "replace", read_first)
    refresh(settings, rebuild=True)
    assert seen == [(1,)]
    assert connection.execute(count).fetchall() == [(2,)]
    left = "select count(*) from pg_class where relname ~ '^(fresh|outdated)_'"
    assert connection.execute(left).fetchall() == [(0,)]


def test_a_schema_may_be_named_like_the_tables(settings: Settings, tmp_path: Path) -> None:
    source = Settings(settings.database_url, "stored_events")
    migrate(source)
    load_events(source, [event(messageId="a")], tmp_path)
    for rebuild in (False, True):
        assert refresh(source, rebuild=rebuild) == 1
        assert select(source, "select id from email_events") == [{"id": "a"}]


def test_sums_that_disagree_are_in_load_health_with_the_views_that_have_them(
    settings: Settings, connection: Connection[Any]
) -> None:
    world = World()
    for number in range(20):
        add_small_world(world, random.Random(number), f"w{number}")
    store(connection, world)
    refresh(settings)
    wrong = "select check_name, found, expected from load_health where not is_ok and check_name like 'sum of %'"
    assert connection.execute(wrong).fetchall() == []
    ((count,),) = connection.execute("select count(*) from load_health where check_name like 'sum of %'").fetchall()
    assert count == len(SUMS)
    tables = ("stored_campaigns", "stored_campaign_days", "stored_recipients")
    for table in tables:
        connection.execute(f"update selligent_ops.{table} set delivered = delivered + 1".encode())
    ((name, found, expected),) = connection.execute(wrong).fetchall()
    assert (name, found.startswith(f"email_events {expected}, email_messages {expected}, campaigns ")) == (
        "sum of delivered",
        True,
    )


@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")])
def test_of_names_of_one_moment_the_smaller_counts_whichever_comes_first(
    settings: Settings, connection: Connection[Any], tmp_path: Path, names: tuple[str, str]
) -> None:
    for name in names:
        link = {"link_id": "l", "link_name": name, "link_url": f"https://{name}.example"}
        click = event(
            event="Email Link Clicked", messageId=name, properties={"campaign_id": "c", "campaign_name": name} | link
        )
        load_events(settings, [click], tmp_path, name)
        refresh(settings)
    query = "select campaign_name, link_name, link_url from links"
    assert connection.execute(query).fetchall() == [("a", "a", "https://a.example")]


def test_every_column_that_campaigns_and_their_days_share_is_compared(
    settings: Settings, connection: Connection[Any]
) -> None:
    query = """
        select attname from pg_attribute
        where attrelid in ('campaigns'::regclass, 'campaign_days'::regclass) and atttypid in (20, 1700)
        group by attname having count(*) = 2
    """
    shared = {name for (name,) in connection.execute(query)}
    assert len(shared) > 10
    for view in ("campaigns", "campaign_days"):
        figures = connection.execute("select figure from selligent_ops.figure_sums where view_name = %s", [view])
        assert {figure for (figure,) in figures} >= shared, view
