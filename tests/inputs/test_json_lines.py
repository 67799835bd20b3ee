"""JSON in any layout: each value is read once, with the line on which it begins, also after a restart."""

import io
import json
from itertools import pairwise
from typing import IO, Any, cast

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from loader.inputs.chunk import Chunk
from loader.inputs.json_batch import BatchError
from loader.inputs.json_lines import NoJsonError, read_chunks
from tests.inputs.test_formats import TEXT
from tests.support.json_layouts import MARK, OBJECTS, VALUES, layouts

SIZES = st.integers(1, 80)
FILES = st.lists(OBJECTS, max_size=8).flatmap(lambda values: st.tuples(st.just(values), layouts(values)))


def stream(data: bytes) -> IO[bytes]:
    return cast(IO[bytes], io.BufferedReader(io.BytesIO(data)))


def read(data: bytes, **options: int) -> list[Chunk]:
    chunks = list(read_chunks(stream(data), **options))
    for before, after in pairwise(chunks):
        assert after.first_line >= before.next_line
        assert after.end > before.end
    return chunks


def raws(chunks: list[Chunk]) -> list[bytes]:
    """Return the bytes of all values without blanks around them."""
    found = [chunk.raw(n).strip() for chunk in chunks for n in range(len(chunk.texts))]
    return [raw for raw in found if raw]


def values(chunks: list[Chunk]) -> list[Any]:
    return [json.loads(raw) for raw in raws(chunks)]


@given(FILES, SIZES)
def test_values_in_any_layout_come_out_once_and_in_order(file: tuple[list[Any], bytes], size: int) -> None:
    expected, data = file
    assert values(read(data, size=size)) == expected


@given(FILES, SIZES)
def test_reading_goes_on_after_any_value(file: tuple[list[Any], bytes], size: int) -> None:
    expected, data = file
    done = 0
    for chunk in read(data, size=size):
        for part in chunk.split(100):
            done += len(raws([part]))
            assert values(read(data, position=part.end, size=size)) == expected[done:]


@given(FILES, SIZES)
def test_a_value_is_reported_with_the_line_on_which_it_begins(file: tuple[list[Any], bytes], size: int) -> None:
    data, place = file[1], 0
    for chunk in read(data, size=size):
        for n in range(len(chunk.texts)):
            if raw := chunk.raw(n).strip():
                place = data.index(raw, place)
                assert chunk.line(n) == 1 + data.count(b"\n", 0, place)
                place += len(raw)


@given(FILES, SIZES, st.data())
def test_a_file_cut_at_any_byte_has_its_complete_values(
    file: tuple[list[Any], bytes], size: int, data: st.DataObject
) -> None:
    expected, content = file
    cut = content[: data.draw(st.integers(0, len(content)))]
    assume(b"{" in cut)
    chunks = read(cut, size=size)
    found = raws(chunks)
    whole = len(found) - (bool(chunks) and not chunks[-1].ended)
    assert [json.loads(raw) for raw in found[:whole]] == expected[:whole]
    for last in found[whole:]:  # complete, or what is left of it
        try:
            assert json.loads(last) == expected[whole]
        except ValueError:
            assert cut.rstrip().endswith(last)


INVALID = ['{"a": ', '{"a": "', '{"a" "b"}', '{"a": [}', "foo", "", '{"a": {"b": 1}', '"a": 1}', '{"a": 1} foo']
LINES = st.lists(
    st.dictionaries(st.sampled_from("abc"), st.text("xyz{} ", max_size=5), max_size=3).map(json.dumps)
    | st.sampled_from(INVALID),
    min_size=1,
)


@given(LINES, SIZES, st.booleans())
def test_invalid_lines_cost_themselves_alone(lines: list[str], size: int, ended: bool) -> None:
    data = "\n".join(["{}", *lines]).encode() + (b"\n" if ended else b"")
    found = raws(read(data, size=size))
    assert b"".join(b"".join(found).split()) == b"".join(data.split())
    good = [line.encode() for line in lines if line.endswith("}") and line not in INVALID]
    assert [raw for raw in found[1:] if raw in good] == good


@given(st.lists(VALUES, max_size=8), SIZES, st.sampled_from([None, 1]), st.booleans())
def test_the_elements_of_an_array_are_its_values(
    elements: list[object], size: int, indent: int | None, escaped: bool
) -> None:
    data = MARK + b"  " + json.dumps(elements, indent=indent, ensure_ascii=escaped).encode() + b"\n"
    assert values(read(data, size=size)) == elements


def test_a_raw_line_has_no_line_end() -> None:
    assert [chunk.raw(n) for chunk in read_chunks(stream(TEXT)) for n in range(len(chunk.texts))] == [
        b'{"a":1}',
        b'{"b":2}',
        b"",
        b'{"c":3}',
    ]


#: Broken values, and what the file has instead of each.
BROKEN = {
    "missing brace": b'{"a": {"b": 1}',
    "missing quote": b'{"a": "b}',
    "missing key quote": b'{"a: "b"}',
    "cut in a string": b'{"a": "b',
    "cut after a number": b'{"a": 1',
    "cut after a colon": b'{"a":',
    "wrong bracket": b'{"a": [1}}',
    "extra brace": b'{"a": 1}}',
    "no JSON in it": b'{"a": b}',
}
GOOD = [{"a": {"b": [{"c": 1}, {"d": "}, {"}]}}, {"e": []}, {"f": {"g": None}}]


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize(
    ("start", "separator", "end"),
    [(b"", b"\n", b"\n"), (b"\x1e", b"\n\x1e", b"\n"), (b"[\n", b",\n", b"\n]")],
    ids=["one after the other", "sequence", "array"],
)
@pytest.mark.parametrize("size", [1, 10, 1000])
def test_a_broken_value_costs_itself_alone(
    broken: bytes, indent: int | None, start: bytes, separator: bytes, end: bytes, size: int
) -> None:
    good = [json.dumps(value, indent=indent).encode() for value in GOOD]
    data = start + separator.join([good[0], broken, good[1], broken, good[2]]) + end
    found = raws(read(data, size=size))
    assert [raw for raw in found if raw in good] == good
    rejected = b" ".join(raw for raw in found if raw not in good)
    assert rejected.count(broken) == 2
    assert len(found) <= 7


def test_a_broken_batch_is_not_read_as_events_without_what_they_share() -> None:
    data = b'{"batch": [\n{"a": 1},\n{"b": 2\n,\n{"c": 3}\n], "sentAt": "x"}\n{"d": 4}\n'
    assert raws(read(data)) == [data[: data.index(b'\n{"d"')], b'{"d": 4}']


def test_a_truncated_array_ends_in_what_is_left_of_its_last_element() -> None:
    (whole, cut) = read(b'[{"a":1},{"b":', size=4)
    assert (raws([whole]), whole.ended) == ([b'{"a":1}'], True)
    assert (raws([cut]), cut.ended) == ([b'{"b":'], False)


@pytest.mark.parametrize("text", [b"Dear Sir,\nno events {today}\n", b"a,b\n1,2\n" * 1000, b"\0\1\2", b"5"])
def test_a_text_without_json_is_one_error(text: bytes) -> None:
    with pytest.raises(NoJsonError):
        read(text)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("json_lines", "json_batch"):
        monkeypatch.setattr(f"loader.inputs.{module}.MAX_LINE", 40)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("size", [4, 100])
def test_a_value_that_is_too_long_comes_in_pieces(size: int) -> None:
    long = b'{"x": "' + b"y" * 150 + b'"}\n'
    data = b'{"a":1}\n' + long + b'{"b":2}\n'
    chunks = read(data, size=size)
    pieces = [chunk for chunk in chunks if chunk.overlong]
    assert b"".join(chunk.texts[0].as_py() for chunk in pieces) == long
    assert {chunk.first_line for chunk in pieces} == {2}
    assert max(len(chunk.texts[0].as_py()) for chunk in pieces) <= 40
    assert values([chunk for chunk in chunks if not chunk.overlong]) == [{"a": 1}, {"b": 2}]
    for n, chunk in enumerate(chunks):  # reading can resume after each chunk
        rest = read(data, position=chunk.end, size=size)
        assert [c.texts.to_pylist() for c in rest] == [c.texts.to_pylist() for c in chunks[n + 1 :]]


@pytest.mark.usefixtures("short")
@given(st.lists(st.dictionaries(st.sampled_from("ab{"), st.integers(0, 99), max_size=1)), SIZES, st.data())
def test_a_batch_that_is_too_long_is_its_events(events: list[Any], size: int, data: st.DataObject) -> None:
    body = {"sentAt": "x", "batch": events, "context": {"y": "z" * 20}}
    content = b'{"first": 1}\n' + json.dumps(body, indent=data.draw(st.sampled_from([None, 2]))).encode()
    content += b'\n{"last": 1}'
    chunks = read(content, size=size)
    first, *found, last = values(chunks)
    assert (first, last) == ({"first": 1}, {"last": 1})
    assert [item for part in found for item in part["batch"]] == events
    assert [part | {"batch": events} for part in found] == [body] * len(found)
    for chunk in chunks:
        done = len(values([c for c in chunks if c.end <= chunk.end]))
        assert values(read(content, position=chunk.end, size=size)) == values(chunks)[done:]


@pytest.mark.usefixtures("short")
def test_a_batch_that_is_too_long_and_has_no_end_is_an_error() -> None:
    with pytest.raises(BatchError, match="without an end"):
        read(b'{"batch": [' + b'{"a": 1},' * 20, size=4)
