"""Remote files: a real S3 server on this machine, and another system by the same code."""

import gzip
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from loader.config import Settings
from loader.errors import InputError, UsageError
from loader.inputs.discovery import Days
from loader.pipeline.options import Options
from loader.pipeline.result import LoadResult
from tests.support.loading import event, load, ndjson, select
from tests.support.loading import one as row
from tests.support.object_store import SECRET, s3_bucket, s3_server

fsspec = pytest.importorskip("fsspec")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """The URL of an S3 server."""
    with s3_server() as url:
        yield url


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A bucket of the test's own, as a system of fsspec."""
    with s3_bucket(endpoint, monkeypatch) as system:
        yield system


def run(settings: Settings, url: str, **options: Any) -> LoadResult:
    return load(settings, [url], Options(**options))


def lines(*ids: str) -> bytes:
    return ndjson(event(messageId=name) for name in ids)


def stored(settings: Settings) -> list[str]:
    return [found["id"] for found in select(settings, "select id from tracks order by id")]


def test_an_archive_is_loaded_by_days_and_once(settings: Settings, bucket: Any) -> None:
    for day in range(3):
        folder = f"events/segment-logs/source/{(1_735_689_600 + day * 86_400) * 1000}"
        bucket.pipe(f"{folder}/a.gz", gzip.compress(lines(f"m{day}")))
        bucket.pipe(f"{folder}/dummy-object.txt", b"dummy")
    url = "s3://events/segment-logs"
    assert run(settings, url, days=Days(date(2025, 1, 2))).counts["events_loaded"] == 2
    assert (run(settings, url).files, run(settings, url).files) == (1, 0)
    assert stored(settings) == ["m0", "m1", "m2"]
    found = row(settings, "select uri, size, fingerprint from files order by file_id desc limit 1")
    key = "events/segment-logs/source/1735689600000/a.gz"
    assert found == {"uri": f"s3://{key}", "size": bucket.size(key), "fingerprint": bucket.info(key)["ETag"].strip('"')}


def test_an_object_rewritten_adds_what_is_new(settings: Settings, bucket: Any) -> None:
    bucket.pipe("events/a", lines("a", "b"))
    run(settings, "s3://events/a")
    bucket.pipe("events/a", lines("b", "c"))
    assert run(settings, "s3://events/*").counts["events_loaded"] == 1
    assert stored(settings) == ["a", "b", "c"]


def test_every_format_is_streamed(settings: Settings, bucket: Any) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    table = pa.table(
        {"id": ["p"], "user_id": ["u"], "event": ["Email Opened"], "received_at": ["2025-01-01T00:00:00Z"]}
    )
    with bucket.open("events/x.parquet", "wb") as file:
        parquet.write_table(table, file)
    bucket.pipe("events/x.csv", b"id,user_id,event,received_at\nc,u,Email Opened,2025-01-01T00:00:00Z\n")
    bucket.pipe("events/x.jsonl", lines("j"))
    assert (run(settings, "s3://events/", jobs=2).errors, stored(settings)) == ([], ["c", "j", "p"])


@pytest.mark.parametrize("url", ["s3://nowhere/x", "s3://events/nothing"])
def test_what_is_not_there_is_named(settings: Settings, bucket: Any, url: str) -> None:
    with pytest.raises(InputError, match=url) as caught:
        run(settings, url)
    assert re.search("no such|not exist", str(caught.value))
    assert SECRET not in str(caught.value)


def test_without_credentials_the_message_says_so(
    settings: Settings, bucket: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    with pytest.raises(InputError, match="credentials"):
        run(settings, "s3://events/")


def test_a_server_that_is_away_is_told(settings: Settings, bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    with pytest.raises(InputError, match=r"127\.0\.0\.1:9"):
        run(settings, "s3://events/")


def test_another_system_works_alike(settings: Settings) -> None:
    system = fsspec.filesystem("memory")
    system.pipe("/folder/a.gz", gzip.compress(lines("a")))
    try:
        assert (run(settings, "memory://folder").files, run(settings, "memory://folder").files) == (1, 0)
    finally:
        system.rm("/folder", recursive=True)


def test_a_system_that_breaks_off_is_told(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    class BreaksError(Exception):
        """An error that only the system's package knows."""

    with fsspec.open("memory://broken/a.jsonl", "wb") as stream:
        stream.write(ndjson(event(messageId=f"m{n}") for n in range(9)))

    def read(*_: Any) -> int:
        raise BreaksError("the line went dead")

    monkeypatch.setattr("fsspec.implementations.memory.MemoryFile.readinto", read)
    monkeypatch.setattr("fsspec.implementations.memory.MemoryFile.read", read)
    result = run(settings, "memory://broken/a.jsonl")
    assert (result.status, result.counts["events_loaded"]) == ("failed", 0)
    assert re.search(r"reading 'memory://.*' failed: the line went dead; load it again", result.errors[0])


def test_a_password_in_an_address_is_refused(settings: Settings) -> None:
    with pytest.raises(UsageError) as caught:
        run(settings, f"sftp://someone:{SECRET}@host/x")
    assert SECRET not in str(caught.value)


def test_without_the_extra_the_message_says_what_to_install() -> None:
    code = """
import sys
sys.modules["s3fs"] = None
from loader.inputs.object_store import list_files
try:
    list_files("s3://bucket/x")
except Exception as exc:
    print(type(exc).__name__, exc)
"""
    root = Path(__file__).parents[2]
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, env=os.environ)
    assert "UsageError" in told.stdout, told.stderr
    assert "pip install selligent-loader[s3]" in told.stdout
