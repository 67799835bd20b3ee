"""Mappings: what is left out by default, and what a file changes."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.errors import UsageError
from loader.integrations.event import Event, read_events
from loader.integrations.mapping import read_mapping
from tests.support.loading import event

ADDRESS = "anna@example.com"
PERSONAL_EVENT = event(
    userId=None,
    anonymousId=ADDRESS,
    context={
        "ip": "198.51.100.7",
        "userAgent": "Mozilla",
        "campaign": {"name": "May"},
        "traits": {"email": ADDRESS, "plan": "a"},
    },
    properties={"email": ADDRESS, "email_id": "1", "user_agent": "Mozilla", "price": 1.10},
)


def mapped(fields: Any, text: str = "", *, send_personal_data: bool = False) -> Any:
    (read,) = read_events(json.dumps(fields).encode())
    made = read_mapping(text, send_personal_data=send_personal_data).apply(read)
    return made and json.loads(made.line)


def test_by_default_no_address_no_ip_and_no_user_agent_is_sent() -> None:
    sent = mapped(PERSONAL_EVENT)
    text = json.dumps(sent)
    assert not [part for part in (ADDRESS, "198.51.100.7", "Mozilla") if part in text]
    assert sent["context"] == {"campaign": {"name": "May"}, "traits": {"plan": "a"}}
    assert sent["properties"] == {"email_id": "1", "price": 1.1}
    assert sent["anonymousId"].startswith("sha256-")
    assert mapped({**PERSONAL_EVENT, "anonymousId": ADDRESS.upper()})["anonymousId"] == sent["anonymousId"]


def test_with_personal_data_the_event_is_sent_as_it_came() -> None:
    assert mapped(PERSONAL_EVENT, send_personal_data=True) == PERSONAL_EVENT


def test_an_event_without_personal_data_is_not_changed() -> None:
    (read,) = read_events(json.dumps(event(properties={"a": 1}, context={"traits": {"b": 2}})).encode())
    assert read_mapping(None).apply(read) is read


def test_a_mapping_selects_renames_and_adds() -> None:
    text = """
        only_events = ["Email Opened"]
        except_properties = ["b"]
        [rename_events]
        "Email Opened" = "Opened"
        [rename_properties]
        a = "c"
        [constants]
        source = "selligent"
        "n" = 2
    """
    sent = mapped(event(properties={"a": 1, "b": 2, "n": 1}), text)
    assert (sent["event"], sent["properties"]) == ("Opened", {"c": 1, "n": 2, "source": "selligent"})
    assert mapped(event(event="Email Bounced"), text) is None
    assert mapped(event(properties=None), text)["properties"] == {"n": 2, "source": "selligent"}


def test_only_properties_leaves_all_others_out() -> None:
    assert mapped(event(properties={"a": 1, "b": 2}), 'only_properties = ["b"]')["properties"] == {"b": 2}
    assert mapped(event(), 'except_events = ["Email Opened"]') is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("only_events = ", "not TOML"),
        ("events = []", "it can have"),
        ("only_events = []", "empty"),
        ('only_events = "a"', "list"),
        ('only_events = ["a"]\nexcept_events = ["b"]', "one of them"),
        ('rename_events = ["a"]', "table"),
        ("[rename_events]\na = 1", "table"),
        ('[rename_properties]\na = "c"\nb = "c"', "two properties"),
        ("[constants]\na = [1]", "constant"),
    ],
)
def test_an_invalid_mapping_is_refused(text: str, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        read_mapping(text)


@given(st.dictionaries(st.text(max_size=8), st.none() | st.booleans() | st.integers() | st.text(), max_size=5))
def test_values_that_are_not_selected_against_keep_their_spelling(properties: dict[str, Any]) -> None:
    line = json.dumps(event(properties={"x": 1, **properties})).replace('"x": 1', '"x": 1.500E1').encode()
    (read,) = read_events(line)
    made = read_mapping('[constants]\nadded = "a"', send_personal_data=True).apply(read)
    assert isinstance(made, Event)
    assert b"1.500E1" in made.line or "x" in properties
    assert json.loads(made.line)["properties"] == {"x": 15.0, **properties, "added": "a"}
