"""Files and chunks: every byte of every kind of input comes out once, in order, with its line number."""

import gzip
import io
import json
from itertools import pairwise
from pathlib import Path
from typing import IO, cast

import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from loader.errors import InputError
from loader.inputs.discovery import discover
from loader.inputs.file import File
from loader.inputs.formats import open_file
from loader.inputs.json_lines import ElementError, read_chunks

TEXT = b'{"a":1}\n{"b":2}\r\n\n{"c":3}'


def content(path: Path) -> bytes:
    with open_file(File(str(path))) as (stream, _):
        return b"".join(iter(lambda: stream.read(7), b""))


def stream(data: bytes) -> IO[bytes]:
    return cast(IO[bytes], io.BufferedReader(io.BytesIO(data)))


def zstd(data: bytes) -> bytes:
    return bytes(pa.Codec("zstd").compress(data))


@pytest.mark.parametrize(
    "data",
    [
        TEXT,
        gzip.compress(TEXT),
        zstd(TEXT),
        gzip.compress(TEXT[:5]) + gzip.compress(TEXT[5:]),
        zstd(TEXT[:5]) + zstd(TEXT[5:]),
    ],
    ids=["plain", "gzip", "zstd", "gzip members", "zstd frames"],
)
def test_compression_is_known_by_content_not_by_name(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "events.txt"
    path.write_bytes(data)
    assert content(path) == TEXT


@pytest.mark.parametrize("compress", [gzip.compress, zstd], ids=["gzip", "zstd"])
def test_a_truncated_file_is_named(tmp_path: Path, compress) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "cut"
    path.write_bytes(compress(bytes(range(256)) * 1000)[:-9])
    with pytest.raises(InputError, match="cut"):
        content(path)


@pytest.mark.parametrize("start", [b"PK\x03\x04", b"BZh9", b"\xfd7zXZ\0"])
def test_a_file_that_cannot_be_read_here_says_what_it_is(tmp_path: Path, start: bytes) -> None:
    path = tmp_path / "other"
    path.write_bytes(start)
    with pytest.raises(InputError, match="convert it"):
        content(path)


def test_files_folders_and_globs_are_found_once_and_in_order(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.jsonl", "deep/c.gz", ".hidden", "deep/.git/x"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"{}")
    files, errors = discover([str(tmp_path), str(tmp_path / "*.jsonl"), "-"])
    assert [Path(file.uri).name for file in files] == ["a.jsonl", "b.jsonl", "c.gz", "-"]
    assert errors == []


def test_what_is_not_there_is_named_and_the_rest_is_found(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    (tmp_path / "empty").mkdir()
    files, errors = discover([str(tmp_path / name) for name in ("gone", "empty", "x*", "a")])
    assert [Path(file.uri).name for file in files] == ["a"]
    for error, problem in zip(errors, ("does not exist", "holds no files", "matches no files"), strict=True):
        assert problem in str(error)


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
    assume(not data.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"["))  # that is an array
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
    for chunk in chunks[:-1]:  # whoever goes on from there knows where he is
        rest = read_chunks(stream(data), position=chunk.end, line=chunk.next_line, size=4)
        assert b"".join(b"".join(c.texts.to_pylist()) for c in rest) == data[chunk.end :]


def test_an_element_that_is_too_long_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loader.inputs.json_lines.MAX_LINE", 10)
    with pytest.raises(ElementError):
        lines_of(b'[1,"' + b"x" * 50, size=4)
