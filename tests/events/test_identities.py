"""Identities of people: the same spelling as in the views, and found in bytes of any format."""

import json
from urllib.parse import quote

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loader.events.identities import BLANKS, find_identities, normalize_address

LETTERS = st.sampled_from("aZ0.+-_@ \u00a0\u200b\tüÜßẞΣςσİıé\u0301。．ﬁ日本ㄱЖ'\"%\x01")


@settings(max_examples=400)
@given(st.lists(st.text(LETTERS, max_size=12), min_size=20, max_size=20))
def test_addresses_are_spelled_as_in_the_views(connection: "psycopg.Connection[object]", sent: list[str]) -> None:
    query = (
        "select array(select normalize_address(item) from unnest(%s::text[]) with ordinality as i (item, n) order by n)"
    )
    assert connection.execute(query, [sent]).fetchall() == [([normalize_address(text) for text in sent],)]


@pytest.fixture(scope="module")
def connection(server: str, template: str) -> object:
    """A connection to the migrated database."""
    from tests.conftest import clone

    with clone(server, template) as found, psycopg.connect(found.database_url or "") as opened:
        opened.execute("set search_path to selligent_ops, selligent")
        yield opened


PIECES = (
    '{"userId": "%s", "broken',
    "%s;x;y;z",
    "x=1&email=%s&y=2",
    "mailto:%s?subject=x",
    "\xff <%s>,",
    "{'user_id': %s}",
)


@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.parametrize("address", ["anna+news@example.com", "ANNA+News@Example.COM", "jörg@bücher.example"])
def test_an_address_is_found_in_every_format(piece: str, address: str) -> None:
    for spelled in (address, quote(address), quote(quote(address)), json.dumps(address)[1:-1]):
        assert normalize_address(address) in find_identities((piece % spelled).encode("utf-8", "surrogateescape"))


def test_an_id_is_found_as_a_word_or_beside_its_name() -> None:
    assert "customer-4711" in find_identities(b"7;customer-4711;x")
    assert "42" in find_identities(b'{"userId":42,"n":7')
    assert not {"42", "7"} & find_identities(b"7;42;x")
    assert "a b" in find_identities(b'{"user_id" : "a b"')


def test_blanks_are_those_of_the_database(connection: "psycopg.Connection[object]") -> None:
    assert connection.execute("select trim_blanks(%s)", [BLANKS + "x" + BLANKS]).fetchall() == [("x",)]
