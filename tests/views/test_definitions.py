"""Identifiers in the views: addresses in one spelling, and placeholders that stand for nobody."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import idna
import pytest
from hypothesis import HealthCheck, assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from psycopg import Connection

from loader.config import Settings
from loader.schema.source import open_warehouse
from loader.views.refresh import refresh
from loader.views.settings import change_setting
from tests.support.loading import event, load_bytes, load_events

CASES = Path(__file__).parents[1] / "data" / "cases"
#: Letters of scripts in which domains are registered.
LETTERS = "".join(
    map(chr, (*b"abcxyz0129-", *range(0xDF, 0x180), *range(0x3B1, 0x3CA), *range(0x430, 0x450), *range(0x5D0, 0x5EB)))
)
LETTERS += "".join(map(chr, (*range(0x3042, 0x3090), *range(0x4E00, 0x4E40), *range(0xAC00, 0xAC20), 0x1F600)))


@pytest.mark.parametrize(
    ("sent", "address"),
    [
        ("\u00a0Ann@X.Example\u3000", "ann@x.example"),
        ("ann+news@x.example", "ann+news@x.example"),
        ("ann@BÜCHER.example", "ann@xn--bcher-kva.example"),
        ("ann@bu\u0308cher.example", "ann@xn--bcher-kva.example"),
        ("ann@XN--bcher-kva.example", "ann@xn--bcher-kva.example"),
        ("ann@例え。テスト", "ann@xn--r8jz45g.xn--zckzah"),
        ("JÖRG@x.example", "jörg@x.example"),
        ('"a@b"@x.example', '"a@b"@x.example'),
        ("an n@x.example", None),
        ("ann@x\u00a0y.example", None),
        ("ann", None),
        ("ann@", None),
        ("@x.example", None),
        ("@", None),
        (" ", None),
        (None, None),
    ],
)
def test_an_address_has_one_spelling_or_is_none(
    connection: Connection[Any], sent: str | None, address: str | None
) -> None:
    assert connection.execute("select normalize_address(%s)", [sent]).fetchall() == [(address,)]


@hypothesis_settings(max_examples=500, suppress_health_check=list(HealthCheck))
@given(labels=st.lists(st.text(LETTERS, min_size=1, max_size=20), min_size=1, max_size=3))
def test_a_domain_equals_its_punycode(connection: Connection[Any], labels: list[str]) -> None:
    domain = ".".join(labels)
    try:
        encoded = idna.encode(domain, uts46=True).decode()
    except idna.IDNAError:
        assume(False)
    found = connection.execute("select normalize_address(%s)", [f"a@{domain}"]).fetchall()
    assert found == [(f"a@{encoded}",)]


def test_people_of_the_case_are_found_by_their_addresses(
    settings: Settings, connection: Connection[Any], tmp_path: Path
) -> None:
    load_bytes(settings, (CASES / "placeholder_ids.jsonl").read_bytes(), tmp_path)
    refresh(settings)
    people = [(f"person{number}@example.com",) for number in range(10)]
    assert connection.execute("select person from recipients order by person").fetchall() == people
    query = "select matched_by, events, people from identity_coverage where events > 0"
    assert connection.execute(query).fetchall() == [("placeholder", 10, 10)]
    assert connection.execute("select distinct user_id from email_delivered order by 1").fetchall() == [
        ("0",),
        ("null",),
    ]
    assert connection.execute("select distinct user_id, matched_by from email_events").fetchall() == [
        (None, "placeholder")
    ]


def test_an_address_is_one_whoever_spells_it_and_a_tag_makes_another(
    settings: Settings, connection: Connection[Any], tmp_path: Path
) -> None:
    connection.execute("create schema shop; create table shop.users (id text, email text, received_at timestamptz)")
    connection.execute(
        "insert into shop.users values ('u7', ' ANN@bücher.example', now()), ('undefined', 'bob@x', now())"
    )
    change(settings, "segment_schemas", "shop")
    names = (
        "ann@xn--bcher-kva.example",
        "Ann@BÜCHER.example\u00a0",
        "ann+news@bücher.example",
        "Bob@x",
        "no address",
        "N/A",
    )
    events = [
        event(messageId=f"m{number}", userId=None, anonymousId=name, context={"traits": {"email": "none"}})
        for number, name in enumerate(names)
    ]
    load_events(settings, events, tmp_path)
    refresh(settings)
    found = connection.execute("select person, matched_by, email from email_events order by id").fetchall()
    assert found == [
        ("u7", "email", "ann@xn--bcher-kva.example"),
        ("u7", "email", "ann@xn--bcher-kva.example"),
        ("ann+news@xn--bcher-kva.example", "none", "ann+news@xn--bcher-kva.example"),
        ("bob@x", "none", "bob@x"),
        ("no address", "none", None),
        ("", "placeholder", None),
    ]


def test_a_placeholder_is_left_out_at_once_and_events_are_read_again_only_if_it_hides_any(
    settings: Settings, connection: Connection[Any], tmp_path: Path
) -> None:
    connection.execute("create schema shop")
    connection.execute("create table shop.pages (id text, user_id text, anonymous_id text, timestamp timestamptz)")
    change(settings, "segment_schemas", "shop")
    at = datetime(2025, 3, 1, 10, tzinfo=UTC)
    events = [
        event(event=name, messageId=f"{name} {user}", userId=user, timestamp=(at + timedelta(hours=hour)).isoformat())
        | {"anonymousId": f"{user}@x.example", "properties": {"campaign_id": "c"}}
        for hour, name in enumerate(("Email Delivered", "Email Link Clicked"))
        for user in ("u1", "Test", "tester")
    ]
    load_events(settings, events, tmp_path)
    visit = "insert into shop.pages values ('v', 'TEST ', 'browser', %s)"
    connection.execute(visit, [at + timedelta(hours=2)])
    refresh(settings)
    usual = "null, undefined"
    reported: list[str] = []

    def people(placeholders: str) -> list[Any]:
        change(settings, "placeholder_ids", placeholders)
        refresh(settings, report=reported.append)
        rows = connection.execute("select person from recipients order by 1").fetchall()
        before = snapshot(connection)
        refresh(settings, rebuild=True)
        assert snapshot(connection) == before
        return [name for (name,) in rows]

    assert people(f"{usual}, nobody-has-it") == ["Test", "tester", "u1"]
    assert reported == []
    assert people(f"{usual}, test ") == ["test@x.example", "tester", "u1"]
    assert reported == ["the figures behind the views are built again from 6 events"]
    assert connection.execute("select user_id, anonymous_id from site_events").fetchall() == [(None, "browser")]
    assert people(f"{usual}, test, TESTER, test@x.example") == ["", "tester@x.example", "u1"]
    assert people(usual) == ["Test", "tester", "u1"]
    assert len(reported) == 3


def test_a_placeholder_of_the_site_counts_for_all_of_its_rows_without_reading_events(
    settings: Settings, connection: Connection[Any], tmp_path: Path
) -> None:
    at = datetime(2025, 3, 1, 10, tzinfo=UTC)
    connection.execute(
        """
        create schema shop;
        create table shop.pages (id text, anonymous_id text, timestamp timestamptz);
        create table shop.identifies (id text, user_id text, anonymous_id text, timestamp timestamptz);
        """
    )
    change(settings, "segment_schemas", "shop")
    for days, user, browser in ((0, "u1", "shared"), (30, "u2", "another")):
        moment = at + timedelta(days=days, hours=2)
        connection.execute("insert into shop.identifies values ('i', %s, %s, %s)", (user, browser, moment))
        connection.execute("insert into shop.pages values ('p', %s, %s)", (browser, moment))
    events = [
        event(event=name, messageId=name, timestamp=(at + timedelta(hours=hour)).isoformat())
        | {"properties": {"campaign_id": "c"}}
        for hour, name in enumerate(("Email Delivered", "Email Link Clicked"))
    ]
    load_events(settings, events, tmp_path)
    reported: list[str] = []

    def visitors() -> list[Any]:
        refresh(settings, report=reported.append)
        query = "select people from campaign_funnel where step = 'visited'"
        return [people for (people,) in connection.execute(query)]

    assert visitors() == [1]
    reported.clear()
    change(settings, "placeholder_ids", "null, Shared")
    assert visitors() == [0]
    change(settings, "placeholder_ids", "null")
    assert visitors() == [1]
    assert reported == []


def change(settings: Settings, name: str, value: str) -> None:
    with open_warehouse(settings) as warehouse:
        change_setting(warehouse, name, value)


def snapshot(connection: Connection[Any]) -> list[Any]:
    views = ("email_events", "email_messages", "recipients", "campaigns", "campaign_funnel", "identity_coverage")
    return [sorted(map(repr, connection.execute(f"select * from {view}".encode()))) for view in views]
