"""A time that is read in Python is the one that the loader reads."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.events.moments import read_moment
from tests.events.test_times import FORMS, MOMENTS, NOT_TIMES, OFFSETS, read, written


@pytest.mark.parametrize("text", FORMS)
def test_each_form_is_the_moment_it_says(text: str) -> None:
    assert read_moment(text) == FORMS[text]


@pytest.mark.parametrize("text", NOT_TIMES)
def test_what_may_mean_several_moments_or_none_is_not_read(text: str) -> None:
    assert read_moment(text) is None


@given(MOMENTS, OFFSETS | st.just(0), st.data())
def test_a_moment_in_any_form_is_read_as_that_moment(when: datetime, minutes: int, data: st.DataObject) -> None:
    assert read_moment(written(when, minutes, data.draw)) == when


@given(
    st.text("0123456789-+:., TtZzUCGMjanJFri()", max_size=30)
    | st.from_regex(r"\A\d{4}-?\d\d-?\d\d[T ]\d\d:?\d\d.{,9}\Z")
    | st.from_regex(r"\A[0-9]{9,16}(\.[0-9]{,9})?\Z")
)
def test_both_readers_agree_on_any_text(text: str) -> None:
    found = read_moment(text)
    assert (text, [found]) == (text, read([text]))
    assert found is None or found.tzinfo is UTC
