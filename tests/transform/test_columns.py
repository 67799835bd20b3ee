"""Columns: every value of an event is stored or discarded exactly once, whatever its key."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.events.fields import leaves, pointer, property_name
from loader.schema.event_tables import STANDARD
from loader.transform.columns import NAMELESS, RESERVED, assign_columns

KEYS = st.text(max_size=6) | st.sampled_from(["email_id", "emailId", "user_id", "context_ip", "a/b", "~", "", "0"])
PATHS = st.sets(
    st.tuples(st.sampled_from(["context", "properties"]), KEYS) | st.tuples(st.just("properties"), KEYS, KEYS)
)


def properties(*names: str) -> list[tuple[str, str]]:
    return [("properties", name) for name in names]


@pytest.mark.parametrize("name", [*STANDARD, "userId", "sentAt", "context_ip", "contextAnything"])
def test_a_property_that_is_called_like_a_standard_column_is_discarded(name: str) -> None:
    assert assign_columns(properties(name)).discarded == {("properties", name): RESERVED}


@pytest.mark.parametrize("path", [("properties", "é"), ("properties", ""), ("context", "メール")])
def test_a_key_without_letter_or_digit_is_discarded(path: tuple[str, str]) -> None:
    assert assign_columns([path]).discarded == {path: NAMELESS}


def test_names_that_meet_in_a_column_are_ordered_with_its_own_name_first() -> None:
    meeting = assign_columns(properties("emailID", "EmailId", "email_id")).paths["email_id"]
    assert [property_name(path) for path in meeting] == ["email_id", "EmailId", "emailID"]


def test_context_keeps_its_columns() -> None:
    paths = [("context", "ip"), ("context", "userAgent"), ("context", "traits", "email")]
    assert set(assign_columns(paths).paths) == {"context_ip", "context_user_agent", "context_traits_email"}


def test_an_object_with_nothing_in_it_makes_no_column() -> None:
    assert leaves({("properties",): ["empty"], ("properties", "empty"): []}) == set()


@given(PATHS)
def test_every_path_has_exactly_one_place(paths: set[tuple[str, ...]]) -> None:
    made = assign_columns(paths)
    placed = [path for meeting in made.paths.values() for path in meeting] + list(made.discarded)
    assert sorted(placed) == sorted(paths)


@given(PATHS)
def test_the_order_of_the_paths_does_not_matter(paths: set[tuple[str, ...]]) -> None:
    assert assign_columns(list(paths)) == assign_columns(sorted(paths, reverse=True))


@given(st.lists(KEYS, min_size=1, max_size=4))
def test_a_pointer_leads_to_the_value(path: list[str]) -> None:
    event: object = "here"
    for key in reversed(path):
        event = {key: event}
    found = json.loads(json.dumps(event))
    for key in pointer(tuple(path)).split("/")[1:]:
        found = found[key.replace("~1", "/").replace("~0", "~")]
    assert found == "here"
