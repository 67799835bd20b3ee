"""Decide which findings the figures support: simple tests for proportions and counts.

A headline states a finding only if chance alone would produce it in less than 5 of 100 cases, or 1 of 100 where the
largest of many figures is picked. The tests take messages as independent of each other, and are those of textbooks:
Wilson's interval for a proportion, the z test for two proportions, and for two counts.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist
from typing import TypeVar

#: Standard normal quantiles of two-sided tests at 5 % and 1 %.
Z_95, Z_99 = 1.96, 2.576
#: How many times the rate of all others a mailbox domain's bounces must be to be named: chance is not all that counts.
NOTABLE_RATIO = 1.5
#: How far a share in a headline may be from the true one, so that the printed whole percent means something.
MAX_MARGIN = 0.03

#: Opens by weekday (1 is Monday) and hour.
Hours = Mapping[tuple[int, int], int]
Key = TypeVar("Key")


@dataclass(frozen=True, slots=True)
class Peak:
    """When people open most: a weekday (1 is Monday), an hour, or both."""

    weekday: int | None = None
    hour: int | None = None


def wilson_interval(successes: int, trials: int, z: float = Z_95) -> tuple[float, float]:
    """Return the interval in which the true proportion lies, by Wilson's formula; `trials` is at least 1.

    >>> [round(bound, 4) for bound in wilson_interval(20, 100)]
    [0.1334, 0.2888]
    """
    share = successes / trials
    centre = share + z * z / (2 * trials)
    margin = z * sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    whole = 1 + z * z / trials
    return (centre - margin) / whole, (centre + margin) / whole


def compare_shares(successes: int, trials: int, others: int, other_trials: int) -> float:
    """Return the z value of the difference of two proportions, 0 if it cannot be computed.

    >>> round(compare_shares(30, 100, 20, 100), 3)
    1.633
    """
    if not trials or not other_trials:
        return 0.0
    pooled = (successes + others) / (trials + other_trials)
    variance = pooled * (1 - pooled) * (1 / trials + 1 / other_trials)
    return (successes / trials - others / other_trials) / sqrt(variance) if variance > 0 else 0.0


def has_changed(now: tuple[int, int], before: tuple[int, int]) -> bool:
    """Return whether a rate, given as successes and trials, differs from the one before by more than chance.

    >>> has_changed((300, 1000), (250, 1000)), has_changed((30, 100), (25, 100))
    (True, False)
    """
    return abs(compare_shares(*now, *before)) > Z_95


def is_more(count: int, other: int) -> bool:
    """Return whether one count is larger than another by more than chance, where the larger was picked of many.

    Both are taken as Poisson distributed: their difference has the variance of their sum.

    >>> is_more(130, 90), is_more(110, 90), is_more(0, 0)
    (True, False, False)
    """
    return count - other > Z_99 * sqrt(count + other)


def machine_share(opened: int, human_opened: int) -> float | None:
    """Return which share of the opened e-mails only machines opened, if that is known well enough for a headline.

    >>> machine_share(4000, 3000), machine_share(40, 30), machine_share(5000, 4999)
    (0.25, None, None)
    """
    if not opened:
        return None
    low, high = wilson_interval(opened - human_opened, opened)
    return (opened - human_opened) / opened if low > 0.01 and high - low <= 2 * MAX_MARGIN else None


def busiest_time(hours: Hours) -> Peak | None:
    """Return when people open most: weekday and hour if these lead all others, else the weekday, else the hour.

    `hours` has at least one entry.

    >>> busiest_time({(5, 12): 300, (5, 13): 200, (1, 9): 150})
    Peak(weekday=5, hour=12)
    >>> busiest_time({(5, 12): 300, (5, 13): 290, (1, 9): 150})
    Peak(weekday=5, hour=None)
    >>> busiest_time({(5, 12): 10, (1, 9): 9})
    """
    weekdays: Counter[int] = Counter()
    times: Counter[int] = Counter()
    for (weekday, hour), opens in hours.items():
        weekdays[weekday] += opens
        times[hour] += opens
    if slot := _leader(hours):
        return Peak(*slot)
    if day := _leader(weekdays):
        return Peak(weekday=day)
    leading_hour = _leader(times)
    return None if leading_hour is None else Peak(hour=leading_hour)


def _leader(counts: Mapping[Key, int]) -> Key | None:
    """Return the key whose count leads that of every other one."""
    first, *others = sorted(counts, key=lambda key: counts[key], reverse=True)
    return first if is_more(counts[first], counts[others[0]] if others else 0) else None


def worst_domain(bounces: Sequence[tuple[str, int, int]]) -> str | None:
    """Return the mailbox domain whose e-mails bounce notably more than those of the others; None if chance may be it.

    `bounces` has the name, the number of bounces and the number of attempts of each domain.

    >>> worst_domain([("a", 40, 1000), ("b", 10, 1000), ("c", 12, 1000)])
    'a'
    >>> worst_domain([("a", 16, 1000), ("b", 10, 1000)])
    """
    name, own, tried = max(bounces, key=lambda row: row[1] / row[2])
    others = sum(bounced for _, bounced, _ in bounces) - own
    other_tries = sum(attempted for _, _, attempted in bounces) - tried
    # The rate is the highest of several, so the chance of 5 % is divided by their number (Bonferroni).
    limit = NormalDist().inv_cdf(1 - 0.05 / (2 * len(bounces)))
    is_notable = own * other_tries >= NOTABLE_RATIO * others * tried
    return name if is_notable and compare_shares(own, tried, others, other_tries) > limit else None


def is_mostly_machines(opened: int, human_opened: int) -> bool:
    """Return whether only machines opened more than half of the opened e-mails, beyond chance.

    >>> is_mostly_machines(940, 80), is_mostly_machines(9, 4)
    (True, False)
    """
    return bool(opened) and wilson_interval(opened - human_opened, opened)[0] > 0.5
