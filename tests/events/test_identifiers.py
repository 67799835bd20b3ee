"""Identifiers: conformance with go-snakecase, and the properties that every identifier must have."""

import itertools
import json
import re
from collections import deque
from collections.abc import Callable
from pathlib import Path
from string import ascii_lowercase, ascii_uppercase, digits

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from loader.events.identifiers import (
    RESERVED_WORDS,
    SHIPPED_RELATIONS,
    STANDARD_TABLES,
    SYSTEM_COLUMNS,
    column_identifier,
    snake,
    table_identifier,
)

CONFORMANCE = json.loads((Path(__file__).parents[1] / "data" / "names.json").read_text("utf-8"))
COLLECTIONS = {
    "Email Delivered": "email_delivered",
    "Email Opened": "email_opened",
    "Email Link Clicked": "email_link_clicked",
    "Email Unsubscribed": "email_unsubscribed",
    "Email Bounced": "email_bounced",
    "Email Marked as Spam": "email_marked_as_spam",
}
TAKEN = sorted(RESERVED_WORDS | SYSTEM_COLUMNS | STANDARD_TABLES | SHIPPED_RELATIONS | {"unsubscribed"})

LOWER, UPPER, DIGITS = (frozenset(letters.encode()) for letters in (ascii_lowercase, ascii_uppercase, digits))

# Kelvin sign, long s, dotted I, Arabic and superscript digits, full-width and mathematical letters, which `lower()` and
# `isdigit()` treat like ASCII; then lone surrogates, U+0000 and a line break.
TREACHEROUS = "\u212a\u017f\u0130\u0663\u00b2\uff21\uff41\U0001d400\ud800\udfff\x00\n"
characters = st.one_of(st.sampled_from("abzABZ019__ .-$"), st.sampled_from(TREACHEROUS), st.characters())
# `st.text(characters)` would draw from the union of the three alphabets, and so rarely from the short ones.
texts = st.lists(characters).map("".join)
runs = st.one_of(st.from_regex("[A-Z0-9]{1,9}|[a-z0-9]{1,9}|_{1,3}", fullmatch=True), characters)
spellings = st.builds(
    lambda word, respell, end: end + respell(word) + end,
    st.sampled_from(TAKEN),
    st.sampled_from([str, str.upper, str.capitalize, lambda word: word.replace("_", " ").title()]),
    st.sampled_from(["", "_", " ", "\ud800"]),
)
names = st.one_of(
    texts,
    st.lists(runs, max_size=30).map("".join),
    spellings,
    st.text("aB3_", min_size=50, max_size=80),
)
either = pytest.mark.parametrize("identifier", [column_identifier, table_identifier])


def stays(name: bytes) -> bool:
    """Return whether rule 1 keeps a name: only a-z, 0-9 and single `_`, not first, not last."""
    words = name.split(b"_") if name else []
    return all(word and set(word) <= LOWER | DIGITS for word in words)


def take(rest: deque[int], wanted: frozenset[int]) -> bytes:
    """Remove the leading bytes that are wanted, and return them."""
    taken = bytearray()
    while rest and rest[0] in wanted:
        taken.append(rest.popleft())
    return bytes(taken)


def snake_by_the_rules(name: str) -> str:
    """Return the snake case of a name by a literal implementation of the three rules, to compare with `snake`."""
    text = name.encode("utf-8", "surrogatepass")
    kept = next(text[:end] for end in range(len(text), -1, -1) if stays(text[:end]))
    rest, out = deque(text[len(kept) :]), kept
    if rest and rest[0] in UPPER and LOWER.isdisjoint(kept.rpartition(b"_")[2]):
        out += take(rest, UPPER | DIGITS).lower() + take(rest, LOWER | DIGITS)
    while rest:
        if rest[0] not in LOWER | UPPER | DIGITS:
            rest.popleft()
            continue
        out += b"_" if out else b""
        out += take(rest, UPPER | DIGITS).lower() + take(rest, LOWER | DIGITS)
    return out.decode("ascii")


@pytest.mark.parametrize("case", CONFORMANCE, ids=lambda case: ascii(case["name"]))
def test_snake_case_conforms_to_segment(case: dict[str, str]) -> None:
    assert snake(case["name"]) == case["snake"]
    assert snake_by_the_rules(case["name"]) == case["snake"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("emailId", "email_id"),
        ("iOSVersion", "i_osversion"),
        ("2FA Enabled", "2fa_enabled"),
        ("_5TEst", "5test"),
        ("Cízǔ", "c_z"),
        ("edf_6N", "edf_6n"),
        ("ab_C", "ab_c"),
        ("sample___text", "sample_text"),
        ("trailing_", "trailing"),
        ("12", "12"),
        ("\u212aelvin", "elvin"),
        ("a\ud800b", "a_b"),
        ("", ""),
        ("_", ""),
    ],
)
def test_snake_case_of_names_that_try_the_rules(name: str, expected: str) -> None:
    assert snake(name) == expected


def test_snake_case_follows_the_rules_for_every_short_name() -> None:
    for length in range(7):
        for letters in itertools.product("aB1_-", repeat=length):
            name = "".join(letters)
            assert snake(name) == snake_by_the_rules(name), name


@given(names)
def test_snake_case_follows_the_rules_for_any_name(name: str) -> None:
    assert snake(name) == snake_by_the_rules(name)


@given(names)
def test_snake_case_of_snake_case_is_itself(name: str) -> None:
    assert snake(snake(name)) == snake(name)


@pytest.mark.parametrize(
    ("original", "expected"),
    [
        ("email_id", "email_id"),
        ("campaignName", "campaign_name"),
        ("context.traits.email", "context_traits_email"),
        ("context.userAgent", "context_user_agent"),
        ("product.sku", "product_sku"),
        ("product.2nd.SKU", "product_2nd_sku"),
        ("2faEnabled", "_2fa_enabled"),
        ("5.1", "_5_1"),
        ("order", "_order"),
        ("ORDER", "_order"),
        ("$order%", "_order"),
        ("currentDate", "_current_date"),
        ("left", "_left"),
        ("system_user", "_system_user"),
        ("order.id", "order_id"),
        ("orders", "orders"),
        ("timestamp", "timestamp"),
        ("xmin", "_xmin"),
        ("tableOid", "table_oid"),
        ("tableoid", "_tableoid"),
        ("links", "links"),
        ("users", "users"),
        ("unsubscribed", "unsubscribed"),
        ("メール", None),
        ("$._-", None),
        ("", None),
    ],
)
def test_a_column_is_named_after_its_property(original: str, expected: str | None) -> None:
    assert column_identifier(original) == expected


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        *COLLECTIONS.items(),
        *((table, table) for table in COLLECTIONS.values()),
        ("Email Machine Opened", "email_machine_opened"),
        ("Unsubscribed", "email_unsubscribed"),
        ("UNSUBSCRIBED", "email_unsubscribed"),
        (" _unsubscribed!", "email_unsubscribed"),
        ("List Unsubscribed", "list_unsubscribed"),
        ("Order Completed", "order_completed"),
        ("2FA Enabled", "_2fa_enabled"),
        ("User", "_user"),
        ("Users", "_users"),
        ("Tracks", "_tracks"),
        ("_tracks", "_tracks"),
        ("Email Events", "_email_events"),
        ("campaignDays", "_campaign_days"),
        ("Campaign", "campaign"),
        ("xmin", "xmin"),
        ("メール", None),
        ("", None),
    ],
)
def test_a_table_is_named_after_its_event(event: str, expected: str | None) -> None:
    assert table_identifier(event) == expected


def test_each_of_the_reserved_words_gets_a_prefix() -> None:
    assert len(RESERVED_WORDS) == 101
    for word in RESERVED_WORDS:
        assert column_identifier(word) == table_identifier(word) == f"_{word}"


@pytest.mark.parametrize("relation", sorted(STANDARD_TABLES | SHIPPED_RELATIONS))
def test_an_event_never_takes_the_name_of_a_relation_we_ship(relation: str) -> None:
    assert table_identifier(relation) == table_identifier(relation.title()) == f"_{relation}"
    assert column_identifier(relation) == relation


@pytest.mark.parametrize(
    ("original", "expected"),
    [
        ("a" * 63, "a" * 63),
        ("a" * 64, "a" * 54 + "_ffe054fe"),
        ("A" * 64, "a" * 54 + "_d53eda7a"),
        ("2" + "a" * 61, "_2" + "a" * 61),
        ("2" + "a" * 62, "_2" + "a" * 52 + "_462ae877"),
        ("a" * 53 + "_" + "b" * 20, "a" * 53 + "_4fa2c8ef"),
        ("é" * 60 + "a", "a"),
        ("a" * 64 + "\ud800", "a" * 54 + "_b7cfdd13"),
    ],
)
@either
def test_a_long_name_is_cut_and_keeps_a_hash_of_the_whole(
    identifier: Callable[[str], str | None], original: str, expected: str
) -> None:
    assert identifier(original) == expected


@either
@given(name=names)
@example(name="a" * 53 + "_" + "b" * 20)
def test_an_identifier_is_one_that_postgresql_takes(identifier: Callable[[str], str | None], name: str) -> None:
    result = identifier(name)
    assert (result is None) == (re.search("[A-Za-z0-9]", name) is None)
    if result is not None:
        assert re.fullmatch("_?[a-z0-9]+(_[a-z0-9]+)*", result)
        assert not result[0].isdigit()
        assert len(result.encode()) <= 63
        assert result not in RESERVED_WORDS


@either
@given(name=names)
@example(name="a" * 53 + "_" + "b" * 20)
def test_an_identifier_sent_back_as_a_name_stays_itself(identifier: Callable[[str], str | None], name: str) -> None:
    result = identifier(name)
    assert identifier(name) == result
    assert result is None or identifier(result) == result


@given(names)
def test_a_column_is_never_a_system_column(name: str) -> None:
    assert column_identifier(name) not in SYSTEM_COLUMNS


@given(names)
def test_a_table_is_never_a_relation_we_ship(name: str) -> None:
    assert table_identifier(name) not in STANDARD_TABLES | SHIPPED_RELATIONS


@given(names)
def test_a_prefix_never_makes_two_snake_cases_meet(name: str) -> None:
    assume(0 < len(snake(name)) < 63)
    assert (column_identifier(name) or "").removeprefix("_") == snake(name)


@either
@given(head=st.text("abC9", min_size=64, max_size=80), tails=st.lists(characters, min_size=2, max_size=9, unique=True))
def test_long_names_that_differ_only_in_the_cut_part_stay_distinct(
    identifier: Callable[[str], str | None], head: str, tails: list[str]
) -> None:
    assert len({identifier(head + tail) for tail in tails}) == len(tails)
