"""JSON lines and elements of JSON arrays: each is yielded once, with its number, also after a restart."""

import io
import json
from itertools import pairwise
from typing import IO, cast

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from loader.inputs.json_lines import ElementError, read_chunks
from tests.inputs.test_formats import TEXT


def stream(data: bytes) -> IO[bytes]:
    return cast(IO[bytes], io.BufferedReader(io.BytesIO(data)))


def lines_of(data: bytes, **options: int) -> list[tuple[int, bytes]]:
    chunks = list(read_chunks(stream(data), **options))
    for before, after in pairwise(chunks):
        assert after.first_line == before.next_line
    return [(chunk.first_line + n, chunk.raw(n)) for chunk in chunks for n in range(len(chunk.texts))]


@given(
    st.lists(st.binary(max_size=40).map(lambda b: b.replace(b"\n", b"")), max_size=30),
    st.integers(1, 50),
    st.booleans(),
)
def test_every_line_comes_out_once_with_its_number(lines: list[bytes], size: int, ended: bool) -> None:
    data = b"\n".join(lines) + (b"\n" if ended and lines else b"")
    assume(not data.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"["))  # would be read as an array
    seen, number = b"", 1
    for chunk in read_chunks(stream(data), size=size):
        assert chunk.first_line == number
        seen += b"".join(chunk.texts.to_pylist())
        number = chunk.next_line
        assert data[: chunk.end].removeprefix(b"\xef\xbb\xbf") == seen
    assert seen == data.removeprefix(b"\xef\xbb\xbf")
    assert number - 1 == len(seen.split(b"\n")) - (not seen or seen.endswith(b"\n"))


def test_reading_goes_on_where_it_was_left() -> None:
    whole = list(read_chunks(stream(TEXT), size=4))
    rest = list(read_chunks(stream(TEXT), position=whole[0].end, line=whole[0].next_line, size=4))
    assert [(c.first_line, c.end, c.texts.to_pylist()) for c in rest] == [
        (c.first_line, c.end, c.texts.to_pylist()) for c in whole[1:]
    ]


def test_a_raw_line_has_no_line_end() -> None:
    (chunk,) = read_chunks(stream(TEXT))
    assert [chunk.raw(n) for n in range(4)] == [b'{"a":1}', b'{"b":2}', b"", b'{"c":3}']


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(JSON, max_size=8), st.integers(1, 60), st.sampled_from([None, 1]), st.booleans())
def test_the_elements_of_an_array_are_its_lines(
    events: list[object], size: int, indent: int | None, escaped: bool
) -> None:
    data = b"\xef\xbb\xbf  " + json.dumps(events, indent=indent, ensure_ascii=escaped).encode() + b"\n"
    found = [json.loads(text) for _, text in lines_of(data, size=size) if text.strip()]
    assert found == events


@given(st.lists(JSON, min_size=2, max_size=8), st.integers(1, 60))
def test_reading_an_array_goes_on_where_it_was_left(events: list[object], size: int) -> None:
    data = json.dumps(events).encode()
    for chunk in read_chunks(stream(data), size=size):
        rest = lines_of(data, position=chunk.end, line=chunk.next_line, size=size)
        assert [text for _, text in rest] == [text for n, text in lines_of(data, size=size) if n >= chunk.next_line]


def test_a_truncated_array_ends_in_what_is_left_of_its_last_element() -> None:
    assert [text.strip() for _, text in lines_of(b'[{"a":1},{"b":', size=4)] == [b"", b'{"a":1}', b'{"b":']


def test_a_line_that_is_too_long_comes_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loader.inputs.json_lines.MAX_LINE", 10)
    data = b"a\n" + b"x" * 35 + b"\nb\n"
    chunks = list(read_chunks(stream(data), size=4))
    assert {(c.first_line, c.overlong) for c in chunks} == {(1, False), (2, True), (3, False)}
    assert b"".join(b"".join(c.texts.to_pylist()) for c in chunks) == data
    for chunk in chunks[:-1]:  # reading can resume after each chunk
        rest = read_chunks(stream(data), position=chunk.end, line=chunk.next_line, size=4)
        assert b"".join(b"".join(c.texts.to_pylist()) for c in rest) == data[chunk.end :]


def test_an_element_that_is_too_long_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loader.inputs.json_lines.MAX_LINE", 10)
    with pytest.raises(ElementError):
        lines_of(b'[1,"' + b"x" * 50, size=4)
