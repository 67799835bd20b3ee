"""Files and chunks: every byte of every kind of input comes out once, in order, with its line number."""

import gzip
import io
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.chunks import read_chunks
from loader.errors import InputError
from loader.files import File, discover, opened

TEXT = b'{"a":1}\n{"b":2}\r\n\n{"c":3}'


def content(path: Path) -> bytes:
    with opened(File(str(path))) as stream:
        return b"".join(iter(lambda: stream.read(7), b""))


def zstd(data: bytes) -> bytes:
    return pa.Codec("zstd").compress(data, asbytes=True)


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


@pytest.mark.parametrize("start", [b"PAR1", b"PK\x03\x04", b"BZh9", b"\xff\xfe{\0", b"\xfd7zXZ\0"])
def test_a_file_that_cannot_be_read_here_says_what_it_is(tmp_path: Path, start: bytes) -> None:
    path = tmp_path / "other"
    path.write_bytes(start)
    with pytest.raises(InputError, match="convert it"):
        content(path)


def test_files_folders_and_globs_are_found_once_and_in_order(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.jsonl", "deep/c.gz", ".hidden", "deep/.git/x"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
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


@given(
    st.lists(st.binary(max_size=40).map(lambda b: b.replace(b"\n", b"")), max_size=30),
    st.integers(1, 50),
    st.booleans(),
)
def test_every_line_comes_out_once_with_its_number(lines: list[bytes], size: int, ended: bool) -> None:
    data = b"\n".join(lines) + (b"\n" if ended and lines else b"")
    seen, number = b"", 1
    for chunk in read_chunks(io.BytesIO(data), size=size):
        assert chunk.first_line == number
        seen += b"".join(chunk.texts.to_pylist())
        number = chunk.next_line
        assert data[: chunk.end].removeprefix(b"\xef\xbb\xbf") == seen
    assert seen == data.removeprefix(b"\xef\xbb\xbf")
    assert number - 1 == len(seen.split(b"\n")) - (not seen or seen.endswith(b"\n"))


def test_reading_goes_on_where_it_was_left() -> None:
    whole = list(read_chunks(io.BytesIO(TEXT), size=4))
    stream = io.BytesIO(TEXT)
    stream.seek(whole[0].end)
    rest = list(read_chunks(stream, position=whole[0].end, line=whole[0].next_line, size=4))
    assert [(c.first_line, c.end, c.texts.to_pylist()) for c in rest] == [
        (c.first_line, c.end, c.texts.to_pylist()) for c in whole[1:]
    ]


def test_a_raw_line_has_no_line_end() -> None:
    (chunk,) = read_chunks(io.BytesIO(TEXT))
    assert [chunk.raw(n) for n in range(4)] == [b'{"a":1}', b'{"b":2}', b"", b'{"c":3}']
