"""Numbers with more digits than a double holds are found in JSON texts, and marked."""

from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from loader.events.values import is_exact
from loader.transform.json_pairs import dump_json, find_long_numbers, mark_long_numbers, parse_json, unmark_long_numbers
from tests.support.load_oracle_values import is_exact as is_exact_by_value

NUMBERS = st.one_of(
    st.from_regex(r"\A-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,3})?\Z"),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.floats(allow_nan=False, allow_infinity=False).map(lambda number: f"{number:.16e}"),
)


@given(NUMBERS.filter(lambda text: not text.lstrip("-").isdigit()))
def test_digits_are_compared_by_value(text: str) -> None:
    assert is_exact(text) == is_exact_by_value(text)


LINES = st.lists(
    st.lists(st.tuples(st.sampled_from(["a", "b"]), NUMBERS | st.just('"x e-123 2025-01-01"')), max_size=4), max_size=6
)


def written(pairs: list[tuple[str, str]]) -> bytes:
    return b'{"properties": {' + ", ".join(f'"{name}": {text}' for name, text in pairs).encode() + b"}}\n"


@settings(max_examples=300)
@given(LINES)
def test_the_lines_with_long_numbers_are_found(rows: list[list[tuple[str, str]]]) -> None:
    lines = [written(pairs) for pairs in rows]
    expected = [
        n
        for n, pairs in enumerate(rows)
        if any(text[0] != '"' and not text.lstrip("-").isdigit() and not is_exact_by_value(text) for _, text in pairs)
    ]
    assert find_long_numbers(pa.array(lines, pa.string())) == expected


@given(LINES)
def test_marks_go_as_they_came(rows: list[list[tuple[str, str]]]) -> None:
    for pairs in rows:
        text = dump_json(parse_json(written(pairs).decode()))
        marked: Any = mark_long_numbers(parse_json(text))
        assert unmark_long_numbers(dump_json(marked)) == text


def test_a_run_of_digits_is_found_wherever_it_begins() -> None:
    for shift in range(17):
        text = b" " * shift + b'{"a": 0.12345678901234567}'
        assert find_long_numbers(pa.array([b"{}", text], pa.string())) == [1]
