"""Compression and format of a file, detected from its content."""

import bz2
import gzip
import io
import json
import lzma
import re
import tarfile
import zipfile
from pathlib import Path

import fsspec
import pyarrow as pa
import pytest

from loader.config import Settings
from loader.errors import InputError
from loader.inputs.discovery import discover
from loader.inputs.file import File
from loader.inputs.formats import open_file
from loader.pipeline.options import Options
from tests.support.command_line import run_command
from tests.support.loading import event, load, one

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


def archive(kind: str) -> bytes:
    """Return an archive, or a workbook, that has events in it."""
    packed = io.BytesIO()
    if kind == "tar":
        with tarfile.open(fileobj=packed, mode="w:") as tar:
            entry = tarfile.TarInfo("events.jsonl")
            entry.size = len(TEXT)
            tar.addfile(entry, io.BytesIO(TEXT))
    else:
        with zipfile.ZipFile(packed, "w") as file:
            file.writestr(kind, TEXT)
    return packed.getvalue()


#: Files of kinds that are not read, and what their error says.
WRONG_KINDS = {
    "zip": (archive("events.jsonl"), "is a zip archive; unpack it"),
    "tar": (archive("tar"), "is a tar archive; unpack it"),
    "tar.gz": (gzip.compress(archive("tar")), "is a tar archive; unpack it"),
    "xlsx": (archive("[Content_Types].xml"), "is an Excel workbook or another Office document; export"),
    "bz2": (bz2.compress(TEXT), "is compressed with bzip2; decompress it"),
    "xz": (lzma.compress(TEXT), "is compressed with xz; decompress it"),
    "gzip in gzip": (gzip.compress(gzip.compress(TEXT)), "is compressed twice; decompress it once"),
    "utf-16": ("\ufeff".encode("utf-16-le") + TEXT.decode().encode("utf-16-le"), "is in UTF-16; convert it to UTF-8"),
    "utf-16 without mark": (TEXT.decode().encode("utf-16-be"), "is in UTF-16; convert it to UTF-8"),
    "utf-32": (TEXT.decode().encode("utf-32"), "is in UTF-32; convert it to UTF-8"),
    "pdf": (b"%PDF-1.7\n{}\n", "is a PDF document"),
    "avro": (b"Obj\x01\x04\x14avro.codec", "is an Avro file"),
    "sqlite": (b"SQLite format 3\0\x10\0", "is a SQLite database"),
    "image": (b"\x89PNG\r\n\x1a\n\0\0", "is a PNG image"),
    "html": (b"\n<!DOCTYPE html>\n<script>\n{}\n</script>", "is HTML or XML; perhaps a page with an error"),
    "text": (b"Dear Sir,\n" * 1000, "holds no events: no line begins with { or .*'Dear Sir,'"),
    "other columns": (b"name,age\nann,5\n", "holds no events: .*'name,age'; events are JSON, CSV with a heading"),
}


@pytest.mark.parametrize(("data", "problem"), WRONG_KINDS.values(), ids=WRONG_KINDS)
@pytest.mark.parametrize("name", ["events.jsonl", "memory:///wrong/events"])
def test_a_file_of_a_wrong_kind_is_one_error_that_says_what_it_is(
    settings: Settings, tmp_path: Path, name: str, data: bytes, problem: str
) -> None:
    path = name if "://" in name else str(tmp_path / name)
    with fsspec.open(path, "wb") as out:
        out.write(data)
    result = load(settings, [path], Options())
    assert (result.status, result.counts["events_read"]) == ("failed", 0)
    (error,) = result.errors
    assert re.search(problem, error)
    assert path in error


def test_a_pipe_of_a_wrong_kind_is_one_error(settings: Settings, tmp_path: Path) -> None:
    ended = run_command(settings, tmp_path, "load", "-", stdin=WRONG_KINDS["tar.gz"][0])
    assert ended.code == 1
    assert "'-' is a tar archive; unpack it" in ended.err


def test_events_in_any_layout_are_read_from_a_pipe(settings: Settings, tmp_path: Path) -> None:
    data = b"".join(json.dumps(event(messageId=name), indent=2).encode() for name in "abc")
    assert run_command(settings, tmp_path, "load", "-", "--no-refresh", stdin=data).code == 0
    assert one(settings, "select count(*) from tracks") == {"count": 3}


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
