"""Compression and format of a file, detected from its content."""

import gzip
from pathlib import Path

import pyarrow as pa
import pytest

from loader.errors import InputError
from loader.inputs.discovery import discover
from loader.inputs.file import File
from loader.inputs.formats import open_file

TEXT = b'{"a":1}\n{"b":2}\r\n\n{"c":3}'


def content(path: Path) -> bytes:
    with open_file(File(str(path))) as (stream, _):
        return b"".join(iter(lambda: stream.read(7), b""))


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
