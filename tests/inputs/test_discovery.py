"""Discovery: files that the ledger knows are skipped, and files that are still being written are left."""

import gzip
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from loader.config import Settings
from loader.inputs.discovery import Days
from loader.inputs.file import local_file
from loader.inputs.formats import read_contents
from loader.pipeline.options import Options
from loader.pipeline.result import LoadResult
from tests.support.loading import event, load, load_bytes, load_file, ndjson, one, select

MIDNIGHT = 1_735_689_600  # 2025-01-01


def events(*ids: str) -> bytes:
    return ndjson(event(messageId=name) for name in ids)


def put(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def run(settings: Settings, folder: Path, **options: object) -> LoadResult:
    return load(settings, [str(folder)], Options(**options))  # type: ignore[arg-type]


def stored(settings: Settings) -> list[str]:
    return [row["id"] for row in select(settings, "select id from tracks order by id")]


def test_a_late_file_in_an_old_folder_is_found(settings: Settings, tmp_path: Path) -> None:
    put(tmp_path, "2025-01-01/a", events("a"))
    put(tmp_path, "2025-01-02/b", events("b"))
    assert run(settings, tmp_path).counts["events_loaded"] == 2
    os.utime(put(tmp_path, "2025-01-01/late", events("c")), (0, 0))  # older than all files read so far
    result = run(settings, tmp_path)
    assert (result.files, result.counts["events_loaded"]) == (1, 1)


def test_two_files_of_the_same_time_and_size_are_two(settings: Settings, tmp_path: Path) -> None:
    os.utime(put(tmp_path, "a", events("a")), (1, 1))
    assert run(settings, tmp_path).files == 1
    os.utime(put(tmp_path, "b", events("b")), (1, 1))
    assert (run(settings, tmp_path).files, stored(settings)) == (1, ["a", "b"])


def test_a_file_rewritten_in_place_adds_what_is_new(settings: Settings, tmp_path: Path) -> None:
    path = put(tmp_path, "a", events("a", "b", "c"))
    run(settings, tmp_path)
    path.write_bytes(events("b", "c", "d"))  # same size, for instance after a deletion
    result = run(settings, tmp_path)
    assert (result.counts["events_read"], result.counts["events_loaded"]) == (3, 1)
    assert stored(settings) == ["a", "b", "c", "d"]


def is_left(settings: Settings, result: LoadResult) -> bool:
    """Return whether a file was left for the next load, with one warning and without errors and rejects."""
    status = one(settings, "select status from files order by file_id desc limit 1")["status"]
    rejects = select(settings, "select from rejected_events")
    return (status, result.errors, len(result.warnings), rejects) == ("left", [], 1, [])


@pytest.mark.parametrize(
    "write",
    [
        lambda data: data,
        lambda data: gzip.compress(data[:-40])[:-9],
        lambda data: b"[" + data.replace(b"\n", b",\n"),
    ],
    ids=["lines", "gzip", "array"],
)
def test_a_file_that_breaks_off_and_was_changed_just_now_is_left(
    settings: Settings, tmp_path: Path, write: Callable[[bytes], bytes]
) -> None:
    whole = events("a", "b", "c")
    path = put(tmp_path, "a", write(whole[:-30]))
    result = run(settings, tmp_path)
    assert is_left(settings, result)
    assert result.status in {"ok", "empty"}
    path.write_bytes(whole)
    result = run(settings, tmp_path)
    assert (result.warnings, stored(settings)) == ([], ["a", "b", "c"])
    assert select(settings, "select from rejected_events") == []


def test_what_nobody_finishes_is_a_reject_in_the_end(settings: Settings, tmp_path: Path) -> None:
    path = put(tmp_path, "a", events("a", "b")[:-30])
    os.utime(path, (1, 1))
    result = run(settings, tmp_path)
    assert (result.status, stored(settings)) == ("partial", ["a"])
    assert one(settings, "select line, reason from rejected_events") == {"line": 2, "reason": "not_json"}


def test_a_left_file_that_stays_as_it_is_goes_on_where_it_was_left(settings: Settings, tmp_path: Path) -> None:
    """Only time passes: for the ledger, the file is unchanged."""
    path = put(tmp_path, "a", events("a", "b")[:-30])
    assert is_left(settings, run(settings, tmp_path))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("loader.inputs.file.SETTLING_SECONDS", 0.0)
        result = load_file(settings, path)
    assert (result.counts["events_read"], result.counts["events_rejected"]) == (1, 1)


def test_a_last_line_without_an_end_is_an_event_if_it_is_one(settings: Settings, tmp_path: Path) -> None:
    result = load_bytes(settings, events("a", "b").rstrip(), tmp_path)
    assert (result.warnings, stored(settings)) == ([], ["a", "b"])


def test_a_file_that_grows_while_it_is_read_is_left(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(tmp_path, "a", events("a", "b"))

    def growing(*arguments: object) -> object:
        for found in read_contents(*arguments):  # type: ignore[arg-type]
            path.write_bytes(events("a", "b", "c"))
            yield found

    with monkeypatch.context() as patch:
        patch.setattr("loader.pipeline.worker.read_contents", growing)
        assert is_left(settings, run(settings, tmp_path))
    run(settings, tmp_path)
    assert stored(settings) == ["a", "b", "c"]


def test_what_holds_no_events_is_passed_over(settings: Settings, tmp_path: Path) -> None:
    for name in ("dummy-object.txt", "_SUCCESS", ".hidden", "x.gz.part", "_committed_1"):
        put(tmp_path, name, b"no event")
    put(tmp_path, "empty", b"")
    assert (run(settings, tmp_path).status, one(settings, "select count(*) from files")) == ("empty", {"count": 0})


@pytest.mark.parametrize("unit", [1, 1000])
def test_days_of_segments_archive_are_chosen(settings: Settings, tmp_path: Path, unit: int) -> None:
    from datetime import date

    for day in range(4):
        folder = f"segment-logs/source/{(MIDNIGHT + day * 86_400) * unit}"
        put(tmp_path, f"{folder}/x.gz", gzip.compress(events(f"m{day}")))
        put(tmp_path, f"{folder}/dummy-object.txt", b"dummy")
    put(tmp_path, "other/x", events("other"))
    run(settings, tmp_path, days=Days(date(2025, 1, 2), date(2025, 1, 3)))
    assert stored(settings) == ["m1", "m2"]


@pytest.mark.slow
def test_nothing_to_do_over_ten_thousand_files_looks_at_no_table_of_events(settings: Settings, tmp_path: Path) -> None:
    for number in range(10_000):
        (tmp_path / f"{number}.jsonl").write_bytes(b"\n")
    (tmp_path / "a").write_bytes(events("a"))
    known = [local_file(path) for path in sorted(tmp_path.iterdir())]
    load_file(settings, tmp_path / "a")
    marks = [json.dumps([file.uri, file.size, file.fingerprint]) for file in known]
    select(
        settings,
        """
        insert into files (load_id, uri, size, fingerprint, status, position, line)
        select 1, mark->>0, (mark->>1)::bigint, mark->>2, 'done', 0, 0 from unnest(%s::jsonb[]) as mark
        returning file_id
        """,
        marks,
    )
    scans = "select sum(seq_scan + coalesce(idx_scan, 0)) as scans from pg_stat_user_tables where schemaname = %s"
    before = one(settings, scans, settings.schema)
    started = time.monotonic()
    assert run(settings, tmp_path).files == 0
    assert time.monotonic() - started < 5
    time.sleep(1.5)  # statistics are updated with a delay
    assert one(settings, scans, settings.schema) == before
