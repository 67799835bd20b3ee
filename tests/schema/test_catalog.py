"""The types of columns that the catalog adds, and the limits on the names that it records."""

import random
from itertools import permutations
from pathlib import Path

import pytest

from loader.config import Settings
from loader.schema.catalog import MAX_SPELLINGS
from loader.transform import limits
from tests.support.hostile_names import spellings
from tests.support.loading import content, event, load_bytes, load_events, one, select

MACHINE_OPENED = Path(__file__).parents[1] / "data" / "machine_opened.jsonl"


def test_the_spellings_of_a_name_that_are_recorded_are_limited(settings: Settings, tmp_path: Path) -> None:
    names = spellings(3 * MAX_SPELLINGS, random.Random(1))
    properties = [event(messageId=f"p{n}", properties={name: n}) for n, name in enumerate(names)]
    events = [event(messageId=f"e{n}", event=name) for n, name in enumerate(names)]
    result = load_events(settings, [*properties, *events], tmp_path)
    assert (result.counts["events_loaded"], result.counts["values_discarded"]) == (2 * len(names), 0)
    assert one(settings, "select count(a_b_c_d_e_f_g_h) from email_opened") == {"count": len(names)}
    assert one(
        settings, "select count(*) from identifiers where kind = 'table' and identifier = 'a_b_c_d_e_f_g_h'"
    ) == {"count": MAX_SPELLINGS}
    assert one(settings, "select count(*) from identifiers where parent = 'email_opened'") == {"count": MAX_SPELLINGS}


def test_a_name_that_no_index_can_hold_does_not_fail_the_load(settings: Settings, tmp_path: Path) -> None:
    chance = random.Random(1)
    name = "".join(chance.choice("abcdefghijklmnopqrstuvwxyz0123456789") for _ in range(10_000))
    result = load_events(settings, [event(properties={name: 1}), event(messageId="e", event=name)], tmp_path)
    assert (result.status, result.counts["events_loaded"]) == ("ok", 2)
    assert one(settings, "select count(*) from identifiers where length(original) > 100") == {"count": 0}


TYPES = """
    select attname, format_type(atttypid, null) as kind from pg_attribute
    where attrelid = 'email_machine_opened'::regclass and attname = any(%s) order by 1
"""


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
def test_documented_properties_are_text_in_every_table(settings: Settings, tmp_path: Path, order: list[int]) -> None:
    lines = MACHINE_OPENED.read_bytes().splitlines(keepends=True)
    for n in order:
        assert load_bytes(settings, lines[n], tmp_path, f"{n}").counts["values_discarded"] == 0
    rows = select(settings, "select campaign_id, email_id from email_machine_opened order by id")
    assert [tuple(row.values()) for row in rows] == [("4", "1"), ("4", "1"), ("summer", "1")]


@pytest.mark.parametrize("is_flat", [False, True], ids=["by shapes", "flattened"])
def test_all_documented_properties_are_text_whatever_comes_first(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_flat: bool
) -> None:
    if is_flat:
        monkeypatch.setattr(limits, "MAX_KEYS", 0)
    first = {"campaignId": 4, "EmailID": 1.5, "link id": True, "list": {"id": "2025-01-01T00:00:00Z"}, "link_url": 7}
    first |= {"email_subject": 1, "campaign_name": 2, "link_name": 3, "list_name": 4, "score": 5}
    opened = event(event="Email Machine Opened", properties=first)
    assert load_events(settings, [opened], tmp_path).counts["values_discarded"] == 0
    names = ["campaign_id", "email_id", "link_id", "list_id", "link_url", "email_subject", "campaign_name"]
    names += ["link_name", "list_name"]
    assert {row["attname"]: row["kind"] for row in select(settings, TYPES, names)} == dict.fromkeys(names, "text")
    (row,) = content(settings)["email_machine_opened"]
    assert '"email_id": "1.5"' in row
    assert '"list_id": "2025-01-01T00:00:00Z"' in row
    assert select(settings, TYPES, ["score"]) == [{"attname": "score", "kind": "bigint"}]
