"""The rules that decide which findings a headline may state, against their definitions and against chance."""

from collections import Counter
from math import isclose

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.reports.page.findings import (
    MAX_MARGIN,
    Z_95,
    Z_99,
    Peak,
    busiest_time,
    compare_shares,
    has_changed,
    is_more,
    is_mostly_machines,
    machine_share,
    wilson_interval,
    worst_domain,
)

ROUNDS = 300


@st.composite
def proportions(draw: st.DrawFn) -> tuple[int, int]:
    trials = draw(st.integers(1, 10**7))
    return draw(st.integers(0, trials)), trials


@given(proportions(), st.sampled_from([Z_95, Z_99]))
def test_the_bounds_of_wilson_are_where_the_share_is_z_deviations_away(counts: tuple[int, int], z: float) -> None:
    successes, trials = counts
    share = successes / trials
    for bound in wilson_interval(successes, trials, z):
        assert -1e-9 <= bound <= 1 + 1e-9
        assert isclose((share - bound) ** 2, z * z * bound * (1 - bound) / trials, rel_tol=1e-4, abs_tol=1e-9)


@given(proportions(), proportions())
def test_a_comparison_is_antisymmetric_and_has_the_sign_of_the_difference(
    one: tuple[int, int], other: tuple[int, int]
) -> None:
    z = compare_shares(*one, *other)
    assert isclose(z, -compare_shares(*other, *one), abs_tol=1e-9)
    difference = one[0] * other[1] - other[0] * one[1]
    assert z * difference >= 0


def test_nothing_is_compared_with_nothing() -> None:
    assert compare_shares(0, 0, 5, 10) == compare_shares(5, 10, 0, 0) == compare_shares(10, 10, 20, 20) == 0


def test_equal_rates_seldom_seem_to_differ() -> None:
    rng = np.random.default_rng(1)
    pairs = rng.binomial(4000, 0.2, (ROUNDS, 2)).tolist()
    changed = sum(has_changed((now, 4000), (before, 4000)) for now, before in pairs)
    assert changed < 0.08 * ROUNDS
    assert has_changed((880, 4000), (800, 4000))


@pytest.mark.parametrize("opens", [50, 3_000, 100_000])
def test_opens_at_random_hours_have_no_busiest_time(opens: int) -> None:
    rng = np.random.default_rng(2)
    found: Counter[Peak | None] = Counter()
    for _ in range(ROUNDS):
        counts = rng.multinomial(opens, [1 / 168] * 168).tolist()
        found[busiest_time({(slot // 24 + 1, slot % 24): count for slot, count in enumerate(counts)})] += 1
    assert found[None] > 0.95 * ROUNDS


def test_a_busiest_time_is_the_most_exact_one_that_leads() -> None:
    even = {(weekday, hour): 100 for weekday in range(1, 8) for hour in range(24)}
    assert busiest_time(even) is None
    assert busiest_time(even | {(3, 9): 160}) == Peak(3, 9)
    assert busiest_time(even | {(3, hour): 130 for hour in range(24)}) == Peak(weekday=3)
    assert busiest_time(even | {(weekday, 9): 130 for weekday in range(1, 8)}) == Peak(hour=9)
    assert busiest_time(even | {(weekday, 0): 130 for weekday in range(1, 8)}) == Peak(hour=0)
    assert busiest_time({(1, 0): 100}) == Peak(1, 0)


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_only_one_of_two_counts_is_more(one: int, other: int) -> None:
    assert not (is_more(one, other) and is_more(other, one))
    assert not is_more(one, one)


@given(proportions())
def test_the_share_of_machines_is_stated_if_it_is_known_to_a_few_percent(counts: tuple[int, int]) -> None:
    human, opened = counts
    share = machine_share(opened, human)
    low, high = wilson_interval(opened - human, opened)
    assert (share is None) == (low <= 0.01 or (high - low) / 2 > MAX_MARGIN)
    assert share is None or low - 1e-9 <= share <= high + 1e-9
    assert machine_share(0, 0) is None


def test_a_domain_is_the_worst_if_it_bounces_notably_more() -> None:
    others = [(f"d{number}", 15, 1000) for number in range(6)]
    assert worst_domain([*others, ("bad", 45, 1000)]) == "bad"
    assert worst_domain([*others, ("bad", 3, 60)]) is None  # too few e-mails
    assert worst_domain([(name, 10 * bounced, 1000 * tried) for name, bounced, tried in others]) is None
    large = [(f"d{number}", 10_000, 1_000_000) for number in range(6)]
    assert worst_domain([*large, ("bad", 11_000, 1_000_000)]) is None  # certain, but not notable
    assert worst_domain([("only", 50, 100)]) is None


def test_equal_domains_have_no_worst_one() -> None:
    rng = np.random.default_rng(3)
    drawn = rng.binomial(1000, 0.015, (ROUNDS, 7)).tolist()
    found = [worst_domain([(str(number), one, 1000) for number, one in enumerate(bounces)]) for bounces in drawn]
    assert sum(name is not None for name in found) < 0.05 * ROUNDS


def test_most_opens_are_those_of_machines_only_beyond_chance() -> None:
    assert is_mostly_machines(100, 30)
    assert not is_mostly_machines(100, 45)
    assert not is_mostly_machines(3, 0)
    assert not is_mostly_machines(0, 0)
