"""Deliver a window to a target that fails in every way: each event once or a dead letter, in order for each person."""

import random
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.errors import OutageError
from loader.forwarding.cursor import Progress
from loader.forwarding.delivery import Delivery, Item
from loader.integrations.event import read_events
from loader.integrations.outcomes import DELIVERED, DeliveryError, Disabled, Outcome, Refused, TooLarge, TryLater
from loader.integrations.over_http import HttpIntegration
from loader.integrations.protocol import Batch, BatchLimits, Record
from loader.spool.reader import Position
from tests.support.forwarding import SimulatedClock, lines, received

DAY = 86_400.0


class Flaky(HttpIntegration):
    """A target in memory, with the share of requests that fail in each way, and of persons that are throttled."""

    name, label = "flaky", "Flaky"
    limits = BatchLimits(20, 20_000, 10_000)

    def __init__(self, seed: int, shares: dict[str, float], poison: frozenset[int]) -> None:
        self._chance, self._shares, self._poison = random.Random(seed), shares, poison
        self.taken: list[tuple[str, int]] = []
        self.sizes: list[int] = []

    def deliver(self, batch: Batch) -> Sequence[Outcome]:
        assert batch.records
        assert len(batch.records) <= self.limits.events
        self.sizes.append(len(batch.records))
        numbers = [int(record.event.message_id[1:]) for record in batch.records]
        chance, limit = self._chance.random(), 0.0
        for error in (TryLater("down"), TooLarge("large"), ValueError("bug")):
            limit += self._shares.get(type(error).__name__, 0)
            if chance < limit and not (isinstance(error, TooLarge) and len(numbers) == 1):
                raise error
        if self._poison & set(numbers):
            raise Refused("poison", f"one of {len(numbers)}")
        throttled = {
            person for person in (record.event.person for record in batch.records)
            if self._chance.random() < self._shares.get("throttled", 0)
        }  # fmt: skip
        outcomes = []
        for number, record in zip(numbers, batch.records, strict=True):
            if record.event.person in throttled:
                outcomes.append(Outcome("retry", "throttled", retry_after=self._chance.choice([None, 0.5, 30])))
            elif number % 31 == 5:
                outcomes.append(Outcome("rejected", "invalid"))
            else:
                self.taken.append((record.event.person, number))
                outcomes.append(DELIVERED)
        return outcomes


def item(number: int, person: int) -> Item:
    raw = lines([received(number, person)]).strip()
    (event,) = read_events(raw)
    after = Position("s", number + 1)
    return Item(Record(event, raw), raw, f"o{number}", f"k{number}", event.person, after)


def run(target: HttpIntegration, persons: Sequence[int], store: Any) -> Progress:
    """Deliver events of these persons until none waits."""
    clock, progress = SimulatedClock(), Progress()
    delivery = Delivery(target, progress, store, clock, DAY)
    left = [item(number, person) for number, person in enumerate(persons)]
    position = Position()
    while left or delivery.waiting:
        while left and delivery.has_room():
            delivery.add(left.pop(0))
        wait = delivery.step()
        assert wait >= 0
        after = delivery.advance()
        assert after is None or after > position
        position = after or position
        clock.wait(wait if wait < 1e9 else 0)
    assert position == Position("s", len(persons))
    return progress


@given(
    seed=st.integers(0, 2**32),
    persons=st.lists(st.integers(0, 5), min_size=1, max_size=200),
    down=st.floats(0, 0.4),
    throttled=st.floats(0, 0.4),
    poison=st.frozensets(st.integers(0, 199), max_size=4),
)
def test_each_event_is_delivered_once_or_becomes_a_dead_letter(
    seed: int, persons: list[int], down: float, throttled: float, poison: frozenset[int]
) -> None:
    shares = {"TryLater": down, "TooLarge": 0.1, "ValueError": 0.05, "throttled": throttled}
    target, letters = Flaky(seed, shares, poison), list[int]()
    progress = run(target, persons, lambda items: letters.extend(int(i.origin[1:]) for i in items))
    expected = {n for n in range(len(persons)) if n % 31 == 5 or n in poison}
    assert set(letters) == expected
    assert len(letters) == len(expected)
    assert sorted(number for _, number in target.taken) == sorted(set(range(len(persons))) - expected)
    order: dict[str, list[int]] = defaultdict(list)
    for person, number in target.taken:
        order[person].append(number)
    assert all(numbers == sorted(numbers) for numbers in order.values())
    assert (progress.events_delivered, progress.events_undelivered) == (len(target.taken), len(letters))


def test_events_of_others_go_on_while_one_person_is_throttled() -> None:
    class Throttling(Flaky):
        def deliver(self, batch: Batch) -> Sequence[Outcome]:
            for record in batch.records:
                self.taken.append((record.event.person, int(record.event.message_id[1:])))
            later = DELIVERED if self.sizes else Outcome("retry", "throttled", retry_after=60)
            return [later if record.event.person == "u0" else DELIVERED for record in batch.records]

    target = Throttling(1, {}, frozenset())
    clock, progress = SimulatedClock(), Progress()
    delivery = Delivery(target, progress, lambda _: None, clock, DAY)
    for number in range(40):
        delivery.add(item(number, number % 2))
    assert delivery.step() == 0  # the first 20: those of u0 are throttled
    assert delivery.step() == 0
    assert {person for person, _ in target.taken[20:]} == {"u1"}
    wait = delivery.step()
    assert 60 <= wait <= 66
    assert delivery.advance() is None
    target.sizes.append(0)
    clock.wait(wait)
    assert delivery.step() == 0
    assert [number for person, number in target.taken[30:] if person == "u0"] == list(range(0, 40, 2))
    assert delivery.advance() == Position("s", 40)


def test_a_batch_is_given_up_after_the_time_for_retries_and_only_that_batch() -> None:
    class Away(Flaky):
        def deliver(self, batch: Batch) -> Sequence[Outcome]:
            raise TryLater("down", "maintenance", code=503)

    clock, progress, letters = SimulatedClock(), Progress(), list[Item]()
    delivery = Delivery(Away(1, {}, frozenset()), progress, letters.extend, clock, DAY)
    for number in range(50):
        delivery.add(item(number, 0))
    begun = clock.time()
    while not letters:
        clock.wait(delivery.step())
    assert DAY <= clock.time() - begun < DAY + 2000
    assert 90 < letters[0].attempts < 300
    assert [letter.origin for letter in letters] == [f"o{n}" for n in range(20)]
    assert letters[0].failure == Outcome("retry", "down", "maintenance", code=503)
    assert delivery.waiting == 30


def test_a_dead_letter_that_cannot_be_stored_waits() -> None:
    is_away = [True]

    def store(items: Sequence[Item]) -> None:
        if is_away[0]:
            raise OutageError("no database")

    target = Flaky(1, {}, frozenset({0}))
    delivery = Delivery(target, Progress(), store, SimulatedClock(), DAY)
    delivery.add(item(0, 0))
    with pytest.raises(OutageError):
        delivery.step()
    assert delivery.advance() is None
    is_away[0] = False
    delivery.step()
    assert delivery.advance() == Position("s", 1)


def test_a_target_that_is_gone_ends_the_delivery() -> None:
    class Gone(Flaky):
        def deliver(self, batch: Batch) -> Sequence[Outcome]:
            raise Disabled("gone")

    delivery = Delivery(Gone(1, {}, frozenset()), Progress(), lambda _: None, SimulatedClock(), DAY)
    delivery.add(item(0, 0))
    with pytest.raises(DeliveryError, match="gone"):
        delivery.step()
    assert delivery.waiting == 1


def test_events_are_collected_until_a_batch_is_full_or_the_first_has_waited() -> None:
    class Collecting(Flaky):
        limits = BatchLimits(20, 20_000, 10_000, wait=60)

    target, clock = Collecting(1, {}, frozenset()), SimulatedClock()
    delivery = Delivery(target, Progress(), lambda _: None, clock, DAY)
    for number in range(25):
        delivery.add(item(number, number))
    assert delivery.step() == 0
    assert 59 < delivery.step() <= 60
    clock.wait(30)
    delivery.add(item(25, 25))
    assert 29 < delivery.step() <= 30
    assert target.sizes == [20]
    clock.wait(30)
    assert delivery.step() == 0
    assert target.sizes == [20, 6]
    delivery.add(item(26, 26))
    delivery.is_flushing = True
    assert delivery.step() == 0
    assert target.sizes == [20, 6, 1]
