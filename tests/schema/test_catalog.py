"""The names that the catalog records are limited, so that no sender makes later loads slow."""

import random
from pathlib import Path

from loader.config import Settings
from loader.schema.catalog import MAX_SPELLINGS
from tests.support.hostile_names import spellings
from tests.support.loading import event, load_events, one


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
