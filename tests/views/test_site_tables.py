"""Revenue of the site's tables: how it is spelled, in which currency, and what refunds take from it."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from psycopg import Connection

from loader.config import Settings
from loader.errors import UsageError
from loader.schema.source import open_warehouse
from loader.views.refresh import refresh
from loader.views.settings import change_setting
from tests.support.loading import event, load_bytes, load_events
from tests.support.view_oracle import AMOUNTS

CASES = Path(__file__).parents[1] / "data" / "cases"
START = datetime(2025, 3, 1, 10, tzinfo=UTC)


@pytest.fixture
def shop(settings: Settings, connection: Connection[Any], tmp_path: Path) -> Connection[Any]:
    """A shop whose customer `u1` has clicked an e-mail at START."""
    connection.execute(
        """
        create schema shop;
        create table shop.order_completed (
            id text, user_id text, order_id text, revenue text, currency text, "timestamp" timestamptz
        );
        create table shop.order_refunded (like shop.order_completed);
        create table shop.rates (date date, currency text, rate numeric);
        """
    )
    change(settings, "segment_schemas", "shop")
    click(settings, tmp_path)
    return connection


def click(settings: Settings, tmp_path: Path) -> None:
    events = [
        event(event=name, messageId=name, timestamp=at.isoformat(), properties={"campaign_id": "c"})
        for name, at in (("Email Delivered", START - timedelta(hours=1)), ("Email Link Clicked", START))
    ]
    load_events(settings, events, tmp_path)


def change(settings: Settings, name: str, value: str) -> None:
    with open_warehouse(settings) as warehouse:
        change_setting(warehouse, name, value)


def order(
    shop: Connection[Any],
    number: str | None,
    revenue: str | None,
    currency: str | None = None,
    *,
    table: str = "order_completed",
    hours: float = 1,
    user: str | None = "u1",
) -> None:
    """Add a row to a table of the shop, so many hours after the click."""
    query = f"insert into shop.{table} select gen_random_uuid(), %s, %s, %s, %s, %s".encode()
    shop.execute(query, (user, number, revenue, currency, START + timedelta(hours=hours)))


def figures(settings: Settings, connection: Connection[Any], *, full: bool = False) -> tuple[Any, ...]:
    """Refresh, and return conversions and revenue of the only campaign, which days and the recipient have too."""
    refresh(settings, full=full)
    (row,) = connection.execute("select conversions, revenue from campaigns").fetchall()
    assert connection.execute("select conversions, revenue from recipients").fetchall() == [row]
    assert connection.execute("select sum(conversions), sum(revenue) from campaign_days").fetchall() == [row]
    return tuple(row)


def health(connection: Connection[Any], check: str) -> Any:
    ((found,),) = connection.execute("select found from load_health where check_name = %s", [check]).fetchall()
    return found


@pytest.mark.parametrize(
    ("sent", "amount", "currency"),
    [
        *((sent, *expected) for sent, expected in AMOUNTS.items()),
        ("1.234.567", Decimal(1234567), None),
        ("12,34,567.89", Decimal("1234567.89"), None),
        ("1'234.50", Decimal("1234.50"), None),
        ("1 234", Decimal(1234), None),
        ("0,234", Decimal("0.234"), None),
        ("1234,567", Decimal("1234.567"), None),
        ("1.234", Decimal("1.234"), None),
        ("1.5e-2", Decimal("0.015"), None),
        ("−5", Decimal(-5), None),
        ("USD12", Decimal(12), "USD"),
        ("12 34", None, None),
        ("1.2.3", None, None),
        ("1,2,3", None, None),
        ("--1", None, None),
        ("EUR 12 €", None, None),
        ("12 %", None, None),
        ("9" * 61, None, None),
    ],
)  # fmt: skip
def test_an_amount_is_read_where_it_can_be_read_in_one_way_only(
    connection: Connection[Any], sent: str, amount: Decimal | None, currency: str | None
) -> None:
    query = "select amount, read_currency(currency) from read_amount(%s)"
    assert connection.execute(query, [sent]).fetchall() == [(amount, currency)]


@hypothesis_settings(max_examples=300, suppress_health_check=list(HealthCheck))
@given(
    number=st.decimals(-(10**9), 10**9, places=2),
    thousands=st.sampled_from(["", ",", ".", " ", "\u202f", "'"]),
    point=st.sampled_from([".", ","]),
    beside=st.sampled_from(["{}", "{} EUR", "€ {}", "€{}", "  {} "]),
)
def test_an_amount_is_read_in_the_spelling_of_any_country(
    connection: Connection[Any], number: Decimal, thousands: str, point: str, beside: str
) -> None:
    if thousands == point:
        return
    text = f"{number:,.2f}".replace(",", "\0").replace(".", point).replace("\0", thousands)
    query = "select amount, read_currency(currency) from read_amount(%s)"
    expected = "EUR" if beside.strip() != "{}" else None
    assert connection.execute(query, [beside.format(text)]).fetchall() == [(number, expected)]


def test_orders_of_the_case_are_not_merged_nor_added_up_over_currencies(
    settings: Settings, connection: Connection[Any], tmp_path: Path
) -> None:
    connection.execute((CASES / "orders.sql").read_bytes())
    change(settings, "segment_schemas", "site")
    load_bytes(settings, (CASES / "clicks.jsonl").read_bytes(), tmp_path)
    assert figures(settings, connection) == (5, Decimal("125.50"))
    assert health(connection, "reporting_currency") == "EUR"
    assert health(connection, "revenue_other_currencies") == "2"
    assert health(connection, "revenue_unread") == "0"
    query = "select order_id, revenue, currency from conversions order by id"
    assert connection.execute(query).fetchall() == [
        ("A1", Decimal("100.50"), "EUR"),
        ("A2", Decimal("1234.56"), "USD"),
        (None, 12, "EUR"),
        (None, 13, "EUR"),
        ("A5", 20, "USD"),
    ]


def test_the_most_frequent_currency_is_kept_until_no_conversion_has_it(
    settings: Settings, shop: Connection[Any]
) -> None:
    order(shop, "1", "10", "usd")
    assert figures(settings, shop) == (1, 10)
    for number in ("2", "3"):
        order(shop, number, "7", " eur ")
    assert figures(settings, shop) == (3, 10)
    refresh(settings, rebuild=True)
    assert figures(settings, shop) == (3, 10)
    shop.execute("delete from shop.order_completed where currency = 'usd'")
    assert figures(settings, shop) == (2, 14)
    order(shop, "4", "1", "usd")
    change(settings, "reporting_currency", "usd")
    assert figures(settings, shop) == (3, 1)
    change(settings, "reporting_currency", "")
    assert figures(settings, shop) == (3, 14)


def test_revenue_without_a_currency_is_in_the_reporting_one(settings: Settings, shop: Connection[Any]) -> None:
    order(shop, "1", "10", None)
    assert figures(settings, shop) == (1, 10)
    assert health(shop, "reporting_currency") is None
    order(shop, "2", "5 EUR", " ")
    assert figures(settings, shop) == (2, 15)
    assert health(shop, "reporting_currency") == "EUR"


def test_other_currencies_are_converted_by_the_latest_rate_of_their_day(
    settings: Settings, shop: Connection[Any]
) -> None:
    change(settings, "reporting_currency", "EUR")
    change(settings, "reporting_time_zone", "Asia/Tokyo")
    order(shop, "1", "10", "USD", hours=3)  # 22:00 in Tokyo
    order(shop, "2", "10", "USD", hours=6)  # the next day there
    assert figures(settings, shop) == (2, 0)
    assert health(shop, "revenue_other_currencies") == "2"
    rate = "insert into shop.rates values (%s, %s, %s)"
    shop.execute(rate, ("2025-02-20", "usd", "0.5"))
    change(settings, "exchange_rates", "shop.rates")
    assert figures(settings, shop) == (2, 10)
    shop.execute(rate, ("2025-03-02", "USD", "2"))  # that of the second day came late
    assert figures(settings, shop) == (2, 25)
    shop.execute("update shop.rates set rate = 0.1 where date = '2025-02-20'")
    assert figures(settings, shop) == (2, 21)
    change(settings, "reporting_time_zone", "UTC")
    assert figures(settings, shop) == (2, 2)
    shop.execute("delete from shop.rates")
    assert figures(settings, shop) == (2, 0)


def test_a_refund_lowers_the_revenue_of_its_order_however_late_it_comes(
    settings: Settings, shop: Connection[Any]
) -> None:
    order(shop, "1", "100")
    order(shop, "1", "30", table="order_refunded", hours=30 * 24, user=None)
    order(shop, "1", "-20", hours=60 * 24, user="clerk")
    assert figures(settings, shop) == (1, 50)
    query = "select is_refund, credit, attributed_revenue, campaign_id from conversions_attributed where is_default"
    found = set(shop.execute(query).fetchall())
    assert found == {(False, 1, 100, "c"), (True, 0, -30, "c"), (True, 0, -20, "c")}
    shop.execute("delete from shop.order_completed where revenue = '100'")
    assert figures(settings, shop, full=True) == (0, 0)
    assert shop.execute("select count(*) from conversions").fetchall() == [(0,)]
    order(shop, "1", "100", hours=2)
    assert figures(settings, shop, full=True) == (1, 50)


def test_a_refund_of_an_unknown_order_is_attributed_by_itself(settings: Settings, shop: Connection[Any]) -> None:
    order(shop, "1", "100")
    order(shop, None, "-30", hours=2)
    assert figures(settings, shop) == (1, 70)
    assert shop.execute("select people from campaign_funnel where step = 'converted'").fetchall() == [(1,)]
    shop.execute("delete from shop.order_completed where order_id = '1'")
    assert figures(settings, shop) == (0, -30)
    assert shop.execute("select people from campaign_funnel where step = 'converted'").fetchall() == [(0,)]


def test_a_refund_is_read_from_its_own_columns_and_can_be_switched_off(
    settings: Settings, shop: Connection[Any]
) -> None:
    shop.execute("alter table shop.order_refunded rename revenue to total")
    order(shop, "1", "100")
    order(shop, "1", "30", table="order_refunded")
    assert figures(settings, shop) == (1, 70)
    shop.execute("alter table shop.order_refunded rename total to back")
    change(settings, "refund_events", "order_refunded:back")
    assert figures(settings, shop) == (1, 70)
    change(settings, "refund_events", "")
    assert figures(settings, shop) == (1, 100)


def test_blank_orders_and_ids_are_not_merged(settings: Settings, shop: Connection[Any]) -> None:
    for number in ("", "  ", None, "\u00a0"):
        order(shop, number, "1")
    for _ in range(2):
        shop.execute("insert into shop.order_completed values (null, 'u1', null, '1', null, %s)", [START])
    assert figures(settings, shop) == (6, 6)
    assert shop.execute("select count(*), count(order_id) from conversions").fetchall() == [(6, 0)]


def test_revenue_that_cannot_be_read_is_counted_and_visible(settings: Settings, shop: Connection[Any]) -> None:
    shop.execute("create table shop.subscribed as select id, user_id, timestamp from shop.order_completed")
    shop.execute("alter table shop.subscribed add value double precision")
    change(settings, "conversion_events", "order_completed:revenue:currency:order_id subscribed:value")
    for sent in ("1,234", "NaN", "free", "", None, "12"):
        order(shop, None, sent)
    for value in ("NaN", "Infinity", "2.5"):
        query = "insert into shop.subscribed values (%s, 'u1', %s, %s)"
        shop.execute(query, (f"s{value}", START + timedelta(hours=1), value))
    order(shop, "9", None, table="order_refunded")  # how much is unknown
    assert figures(settings, shop) == (9, Decimal("14.5"))
    assert health(shop, "revenue_unread") == "6"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("reporting_currency", "EUR USD"),
        ("exchange_rates", "nowhere"),
        ("exchange_rates", "shop.order_completed"),
        ("refund_events", ":revenue"),
    ],
)
def test_a_setting_of_revenue_that_does_not_suit_is_refused(
    settings: Settings, shop: Connection[Any], name: str, value: str
) -> None:
    with pytest.raises(UsageError, match=f"is invalid for '{name}'"):
        change(settings, name, value)
