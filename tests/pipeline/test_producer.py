"""Threads that produce items ahead of their consumer."""

import threading
from collections.abc import Iterator

import pytest

from loader.pipeline.producer import produce_ahead


def double(numbers: Iterator[int]) -> Iterator[int]:
    for number in numbers:
        yield 2 * number


def test_items_arrive_converted_and_in_order() -> None:
    with produce_ahead(range(100), double) as found:
        assert list(found) == list(range(0, 200, 2))


def test_an_error_takes_the_place_of_the_item() -> None:
    def fail_at_two() -> Iterator[int]:
        yield 1
        raise ValueError("two")

    with produce_ahead(fail_at_two(), double) as found:
        assert next(found) == 2
        with pytest.raises(ValueError, match="two"):
            next(found)


def test_the_converting_thread_ends_while_its_source_is_blocked() -> None:
    released, ended = threading.Event(), threading.Event()

    def blocked() -> Iterator[int]:
        yield 1
        released.wait(60)

    def convert(numbers: Iterator[int]) -> Iterator[int]:
        yield from numbers
        ended.set()

    with produce_ahead(blocked(), convert) as found:
        assert next(found) == 1
    try:
        assert ended.is_set()
    finally:
        released.set()


def test_no_thread_runs_far_ahead() -> None:
    produced: list[int] = []

    def count() -> Iterator[int]:
        for number in range(1000):
            produced.append(number)
            yield number

    with produce_ahead(count(), double) as found:
        assert next(found) == 0
    assert len(produced) < 10
