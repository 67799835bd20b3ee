"""Chunks that are flattened are stored as those that are not, and their cost depends on their bytes."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from loader.config import Settings
from loader.migrate import migrate
from loader.transform import transform
from loader.transform.flatten import FlatDiscards
from loader.transform.limits import TooLargeError
from tests.pipeline.test_backfill import drifting, everything
from tests.support.hostile_names import nested_events, spellings
from tests.support.loading import event, load_bytes, load_events, ndjson, one, select

#: Without names that no column can have, or that have a column from the start: by shapes, objects with such names are
#: found after others, when these have given columns their types.
WORDS = st.sampled_from(["a", "A", "a.b", "a_b", "aB", "a-b", "b", "0", "éa", "mail_id", "mailId", "id", "a/b"])
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from([1, 2.50, "x", "", None, True, [1, {"a": "é"}], {}, "2025-01-01T00:00:00Z", 10**30, "\x1f\u2028/"]),
    lambda inner: st.dictionaries(WORDS, inner, max_size=5),
    max_leaves=12,
)
EVENTS = st.lists(
    st.fixed_dictionaries(
        {"properties": st.dictionaries(WORDS, VALUES, max_size=6), "context": st.dictionaries(WORDS, VALUES)},
        optional={"more": VALUES, "sentAt": st.just("no time"), "event": st.just("Other")},
    ),
    min_size=1,
    max_size=25,
)


def deep(levels: int) -> dict[str, Any]:
    value: Any = {"end": [1]}
    for _ in range(levels):
        value = {"a": value}
    return {"deep": value}


def loaded(settings: Settings, content: bytes, tmp_path: Path, name: str) -> dict[str, Any]:
    """Load into a schema of its own, and return all that was stored."""
    apart = Settings(settings.database_url, name)
    migrate(apart)
    load_bytes(apart, content, tmp_path, name)
    names = select(apart, "select parent, original, identifier from identifiers order by 1, 2, 3")
    rejects = select(apart, "select line, reason from rejected_events order by 1")
    return {**everything(apart), "names": [str(row) for row in names], "rejects": [str(row) for row in rejects]}


def both(
    settings: Settings, content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int = 0
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what a load stores, first by shapes, then flattened."""
    by_shapes = loaded(settings, content, tmp_path, f"shapes{number}")
    with monkeypatch.context() as patch:
        patch.setattr(transform, "MAX_ATTEMPTS", 0)
        return by_shapes, loaded(settings, content, tmp_path, f"flat{number}")


def awkward() -> Iterator[dict[str, Any]]:
    """Yield events whose values are not simply stored in their columns."""
    yield event(messageId="1", properties={"n": 1, "N": 2, "n ": 3, "a": {"b": 1}, "a_b": 2}, context={"ip": 5})
    yield event(messageId="2", properties={"n": "x", "a.b": {"c": 1}, "id": 5, "context_ip": 6, "é": 7})
    yield event(messageId="3", properties={"n": [1.50], "a": 5, "x": None, "y": {}}, context={"ip": {"v6": 1}}, mood=8)
    yield event(messageId="4", properties=[], context=[], sentAt="yesterday")
    yield event(messageId="5", properties=5)
    yield event(messageId="6", properties=deep(20), context=deep(14))
    yield event(messageId="7", event="Other", properties={"n": True})
    yield event(messageId="7", event="Other", properties={"n": False})


def test_a_flattened_chunk_is_stored_like_any_other(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = ndjson([*awkward(), *drifting(60), *nested_events(20, 12)])
    base = json.dumps(event(messageId="r"))[:-1]
    lines += base.encode() + b', "properties": {"z": 1, "z": 2.50, "o": {"p": 1, "p": {}}, "n": -inf, "l": [1,]}}\n'
    by_shapes, flat = both(settings, lines, tmp_path, monkeypatch)
    assert flat == by_shapes
    assert len(flat["discards"]) > 100


@pytest.mark.slow
def test_any_chunk_is_stored_alike_flattened_or_not(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 0

    @hypothesis_settings(
        max_examples=5,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(EVENTS)
    def compare(fields: list[dict[str, Any]]) -> None:
        nonlocal count
        count += 1
        events = [event(messageId=f"m{n}", **own) for n, own in enumerate(fields)]
        by_shapes, flat = both(settings, ndjson(events), tmp_path, monkeypatch, count)
        # A name of which no event has a value is recorded only by shapes.
        assert {**flat, "names": set(flat["names"]) - set(by_shapes["names"])} == {**by_shapes, "names": set()}

    compare()


def test_every_value_of_an_event_with_very_many_names_is_in_a_column_or_discarded(
    settings: Settings, tmp_path: Path
) -> None:
    """The events of other senders are as they would be without it."""
    names = spellings(2000, random.Random(1))
    hostile = event(messageId="x", properties={name: n for n, name in enumerate(names)})
    honest = [event(messageId=f"h{n}", properties={"email_id": f"e{n}", "Shop.Name": n}) for n in range(20)]
    load_events(settings, [hostile, *honest], tmp_path)
    assert one(settings, "select count(shop_name) as shops, count(email_id) as mails from email_opened") == {
        "shops": 20,
        "mails": 20,
    }
    assert one(settings, "select count(*) from discarded_values where event_id <> 'x'") == {"count": 0}
    discards = select(settings, "select property, value, reason from discarded_values")
    rest = [json.loads(row["value"]) for row in discards if row["reason"] == "too_many_names"]
    assert [len(found) for found in rest] == [2000 - 1 - 500]
    apart = [int(row["value"]) for row in discards if row["reason"] == "collision"]
    column = one(settings, "select a_b_c_d_e_f_g_h as first from email_opened where id = 'x'")["first"]
    assert sorted([column, *apart, *rest[0].values()]) == [*range(2000)]
    assert one(settings, "select count(*) from identifiers where identifier = 'a_b_c_d_e_f_g_h'") == {"count": 20}


def test_the_names_of_a_chunk_that_are_discarded_one_by_one_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loader.transform.flatten.DISCARDED_NAMES", 2)
    discards = FlatDiscards()
    for n, name in enumerate(["a", "b", "c", "a"]):
        discards.add(n, [(("properties", name), "x", "no_column")])
    found = zip(discards.numbers, discards.properties, discards.texts, strict=True)
    assert list(found) == [(0, "a", '"x"'), (1, "b", '"x"'), (2, "*", '{"c": "x"}'), (3, "a", '"x"')]


def test_a_chunk_with_very_many_discarded_values_is_split(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loader.transform.limits.MAX_DISCARDED", 10)
    discards = FlatDiscards()
    with pytest.raises(TooLargeError):
        discards.add(1, [(("properties", f"p{n}"), "x", "no_column") for n in range(11)])
