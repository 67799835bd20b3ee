"""Casts: a value that fits a column without loss is stored, any other becomes null."""

import duckdb
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from loader.duckdb import Session, cast_sql
from loader.events.times import DEFAULT_TIMES
from loader.events.values import BIGINT, BOOLEAN, DOUBLE, TEXT, TIMESTAMPTZ
from tests.support.load_oracle_values import microseconds

SESSION = Session(DEFAULT_TIMES)
BASE = "2024-01-01T00:00:00.123Z"


def stored(value: str, kind: str) -> str | None:
    return evaluated(cast_sql("x", kind), value)


def evaluated(expression: str, value: str) -> str | None:
    """Return the text of an expression of `x`."""
    SESSION.register("texts", pa.table({"x": [value]}))
    ((found,),) = SESSION.rows(f"select ({expression})::varchar from texts")
    return found  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (TEXT, " 12.50", " 12.50"),
        (BIGINT, "5", "5"),
        (BIGINT, "5.0", "5"),
        (BIGINT, "5.7", None),
        (BIGINT, " 5", None),
        (BIGINT, "0x10", None),
        (BIGINT, "9223372036854775807", "9223372036854775807"),
        (BIGINT, "9223372036854775808", None),
        (DOUBLE, "5.7", "5.7"),
        (DOUBLE, "NaN", None),
        (DOUBLE, "1e400", None),
        (DOUBLE, "9007199254740993", None),
        (BOOLEAN, "true", "true"),
        (BOOLEAN, "1", None),
        (BOOLEAN, "TRUE", "true"),
        (BOOLEAN, "False", "false"),
        (DOUBLE, "5,5", None),
        (TIMESTAMPTZ, "2024-01-01T02:00:00+02:00", "2024-01-01 00:00:00+00"),
        (TIMESTAMPTZ, "2024-01-01 02:00", "2024-01-01 02:00:00+00"),
        (TIMESTAMPTZ, "2024-01-01", None),
        (TIMESTAMPTZ, "2024-02-30T00:00:00Z", None),
        (TIMESTAMPTZ, "2024-01-01T00:00:00Z ", None),
        (TIMESTAMPTZ, "2024-01-01T00:00:00 Europe/Paris", None),
        (TIMESTAMPTZ, " 025-01-01T00:00:00.123Z", None),
        (TIMESTAMPTZ, "\t025-01-01T00:00:00.123Z", None),
        (TIMESTAMPTZ, "2024-1-01T00:00:00.1234Z", None),
        (TIMESTAMPTZ, "infinity", None),
        (TIMESTAMPTZ, "epoch", None),
        ("jsonb", "1", None),
    ],
)
def test_a_value_is_stored_as_it_is_or_not_at_all(kind: str, value: str, expected: str | None) -> None:
    assert stored(value, kind) == expected


@example(len(BASE) - 1, " ", 1)  # a blank instead of the offset
@given(st.integers(0, len(BASE)), st.text(st.characters(codec="ascii"), max_size=1), st.integers(0, 1))
def test_a_changed_time_is_read_as_an_independent_reader_does(place: int, character: str, cut: int) -> None:
    value = BASE[:place] + character + BASE[place + cut :]
    expected = microseconds(value)
    found = evaluated(f"epoch_us({cast_sql('x', TIMESTAMPTZ)})", value)
    assert found == (None if expected is None else str(expected))


@given(st.integers())
def test_a_whole_number_is_exact_or_refused(number: int) -> None:
    for kind in (BIGINT, DOUBLE):
        value = stored(str(number), kind)
        assert value is None or int(float(value) if kind == DOUBLE else value) == number


def test_a_session_writes_no_progress_bar_and_takes_no_more_than_its_memory() -> None:
    session = Session()
    assert session.rows("select current_setting('enable_progress_bar')") == [(False,)]
    with pytest.raises(duckdb.OutOfMemoryException):
        session.execute(
            "create temp table large as select random()::varchar || repeat('x', 100) from range(10_000_000)"
        )
