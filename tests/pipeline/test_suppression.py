"""Events of suppressed people are dropped by every load, and counted."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from loader.api import replay
from loader.config import Settings
from loader.pipeline.options import Options
from loader.pipeline.rejected_events import RejectFilter
from loader.pipeline.result import LoadResult
from loader.pipeline.suppression import SIEVE_BITS, SuppressionKey, SuppressionList, change_list
from loader.schema.source import open_warehouse
from tests.support.crash_points import at
from tests.support.loading import event, load_bytes, load_events, one, select

TEXTS = st.text(st.sampled_from("ab@.Xü\0 "), max_size=40)
KEY = SuppressionKey(bytes(range(32)))


def suppress(settings: Settings, *names: str, remove: Sequence[str] = ()) -> None:
    with open_warehouse(settings) as warehouse, warehouse.transaction():
        change_list(warehouse, add=names, remove=remove)


def outcomes(result: LoadResult) -> tuple[int, int, int]:
    counts = result.counts
    others = ("loaded", "duplicate", "rejected", "ignored", "suppressed")
    assert counts["events_read"] == sum(counts[f"events_{name}"] for name in others)
    return counts["events_loaded"], counts["events_suppressed"], counts["events_rejected"]


@given(st.lists(TEXTS | st.none(), max_size=30), st.integers(0, 5))
def test_the_sieve_of_a_value_does_not_depend_on_its_neighbours(values: list[str | None], offset: int) -> None:
    found = KEY.sieve(pa.array(values, pa.string()).slice(offset))
    alone = [int(KEY.sieve(pa.array([value or ""]))[0]) for value in values[offset:]]
    assert found.tolist() == alone
    assert all(0 <= value < 1 << SIEVE_BITS for value in alone)


def test_the_sieve_separates_what_differs_in_one_byte_and_by_the_key() -> None:
    values = pa.array([f"{n:07d}@example.com" for n in range(50_000)])
    found = KEY.sieve(values)
    assert len(np.unique(found)) > 49_800
    assert (found != SuppressionKey(bytes(32)).sieve(values)).mean() > 0.99
    longer = pa.array(["x" * n for n in range(3000)])
    assert len(np.unique(KEY.sieve(longer))) > 2990


@hypothesis_settings(max_examples=200)
@given(st.lists(st.tuples(TEXTS | st.none(), TEXTS | st.none(), TEXTS | st.none()), max_size=20), st.sets(TEXTS))
def test_the_rows_found_are_those_of_which_an_identity_is_on_the_list(
    rows: list[tuple[str | None, str | None, str | None]], names: set[str]
) -> None:
    sieve = np.zeros(1 << SIEVE_BITS, np.bool_)
    sieve[KEY.sieve(pa.array(sorted(names), pa.string()))] = True
    listed = SuppressionList(KEY, 1, b"".join(sorted(map(KEY.digest, names))), sieve)
    columns = [pa.array([row[n] for row in rows], pa.string()) for n in range(3)]
    table = pa.table(columns, ["user_id", "anonymous_id", "context_traits_email"])
    assert listed.find(table) == [n for n, row in enumerate(rows) if listed.has_any(*row)]


def test_events_of_suppressed_people_are_dropped_and_counted(settings: Settings, tmp_path: Path) -> None:
    suppress(settings, "u2", "anna@example.com")
    events = [
        event(messageId="1", userId="u1"),
        event(messageId="2", userId="u2"),
        event(messageId="3", userId="U2"),
        event(messageId="4", userId=None, anonymousId="Anna@Example.com"),
        event(messageId="5", userId="u3", context={"traits": {"email": "\u00a0ANNA@example.com "}}),
        event(messageId="6", userId="ANNA@EXAMPLE.COM", properties={"odd": 1}),
        event(messageId="7", userId="u2", event=None),
        event(messageId="8", userId="u1", event=None),
        event(messageId="2", userId="u2"),
        event(messageId="2", userId="u2", event="Email Bounced"),
        event(messageId="9", userId="u2", type="identify"),
    ]
    broken = b'{"userId": "x", "properties": {"email": "anna%40example.com"]}\n{"userId": "other"]}\n'
    content = b"".join(json.dumps(item).encode() + b"\n" for item in events) + broken
    result = load_bytes(settings, content, tmp_path)
    assert outcomes(result) == (2, 8, 2)
    assert [row["id"] for row in select(settings, "select id from tracks order by id")] == ["1", "3"]
    stored = one(settings, "select events_read, events_loaded, events_suppressed, events_ignored from loads")
    assert stored == {"events_read": 13, "events_loaded": 2, "events_suppressed": 8, "events_ignored": 1}
    kept = select(settings, "select convert_from(raw, 'utf8') as raw from rejected_events")
    assert not any("anna" in row["raw"].lower() or "u2" in row["raw"] for row in kept)
    assert select(settings, "select * from discarded_values") == []


def test_conflicting_keys_of_suppressed_people_do_not_become_rejects(settings: Settings, tmp_path: Path) -> None:
    load_events(settings, [event(messageId="1", userId="u1")], tmp_path, "a")
    suppress(settings, "customer-2")
    conflict = event(messageId="1", userId="customer-2", event="Email Bounced")
    assert outcomes(load_events(settings, [conflict], tmp_path, "b")) == (0, 1, 0)


def test_a_list_that_changes_during_a_load_counts_from_the_next_chunk_on(settings: Settings, tmp_path: Path) -> None:
    content = b"".join(json.dumps(event(messageId=str(n), userId="u2")).encode() + b"\n" for n in range(40_000))
    with at("chunk.committed", lambda: suppress(settings, "u2")):
        loaded, suppressed, _ = outcomes(load_bytes(settings, content, tmp_path))
    assert suppressed and loaded + suppressed == 40_000
    assert one(settings, "select count(distinct uuid_ts)::int as chunks from tracks") == {"chunks": 1}


def test_a_replay_drops_them_too(settings: Settings, tmp_path: Path) -> None:
    late = [event(messageId=f"{n}", userId=f"u{n}", event="Made Up") for n in range(3)]
    content = b"".join(json.dumps(item).encode() + b"\n" for item in late)
    assert outcomes(load_bytes(settings, content, tmp_path, max_tables=6)) == (0, 0, 3)
    suppress(settings, "u1")
    result = replay(settings, RejectFilter(), Options())
    assert outcomes(result) == (2, 1, 0)


@pytest.mark.parametrize("names", [[], ["u7"]])
def test_a_person_who_is_removed_from_the_list_is_loaded_again(
    settings: Settings, tmp_path: Path, names: list[str]
) -> None:
    suppress(settings, "u1", *names)
    suppress(settings, remove=["u1"])
    assert outcomes(load_events(settings, [event()], tmp_path)) == (1, 0, 0)
