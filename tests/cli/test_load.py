"""The command `load`."""

import gzip
import json
import re
import signal
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from loader.config import Settings
from loader.sample import ndjson as sample
from tests.support.command_line import (
    BROKEN,
    SIGNALS,
    Run,
    committed,
    end,
    keys,
    opened,
    sessions,
    started,
    started_in_pipe,
    waiting,
)
from tests.support.loading import content, event, ndjson, one, select
from tests.support.waiting import until

KEYS = {
    *("load_id", "status", "files", "tables", "seconds", "values_discarded"),
    *("events_read", "events_loaded", "events_duplicate", "events_rejected", "events_ignored", "events_suppressed"),
}


def test_a_load_prints_the_rows_of_each_table_and_a_summary(run: Run, settings: Settings, events: Path) -> None:
    loaded = run("load", "events.jsonl")
    assert loaded.code == 0
    rows = {table: len(stored) for table, stored in content(settings).items() if stored}
    assert rows["tracks"] == keys(events.read_bytes())
    printed = dict(re.findall(r"^(\w+) +([\d,]+)$", loaded.out, re.M))
    assert {table: int(count.replace(",", "")) for table, count in printed.items()} == rows
    summary = rf"^loaded {rows['tracks']:,} of 2,000 events from 1 file in \d+\.\d s \([\d,]+ events/s\)$"
    assert re.search(summary, loaded.out, re.M)
    assert f"{2000 - rows['tracks']:,} duplicates" in loaded.out


def test_a_load_prints_one_json_object(run: Run, settings: Settings, events: Path) -> None:
    loaded = run("load", "--json", "events.jsonl")
    assert (loaded.code, loaded.err, loaded.out.count("\n")) == (0, "", 1)
    result = json.loads(loaded.out)
    assert result.keys() >= KEYS
    assert (result["status"], result["files"], result["events_read"]) == ("ok", 1, 2000)
    assert result["events_loaded"] == result["tables"]["tracks"] == keys(events.read_bytes())
    assert one(settings, "select status, events_loaded from loads where load_id = %s", result["load_id"]) == {
        "status": "ok",
        "events_loaded": result["events_loaded"],
    }


def test_a_load_with_nothing_to_do_is_no_failure(run: Run, events: Path) -> None:
    assert run("load", "events.jsonl").code == 0
    again = run("load", "events.jsonl")
    assert (again.code, again.out) == (
        0,
        "nothing to do: every file has been loaded before (--again reads them again)\n",
    )
    assert json.loads(run("load", "events.jsonl", "--json").out)["status"] == "empty"


def test_a_dry_run_says_what_would_be(run: Run, settings: Settings, events: Path) -> None:
    before = content(settings)
    dry = run("load", "--dry-run", "events.jsonl")
    rows = keys(events.read_bytes())
    assert dry.code == 0
    assert f"would load {rows:,} of 2,000 events from 1 file" in dry.out
    assert "email_machine_opened" not in before
    assert re.search(r"^CREATE TABLE IF NOT EXISTS selligent\.email_machine_opened", dry.out, re.M)
    assert (content(settings), select(settings, "select * from loads")) == (before, [])
    assert json.loads(run("load", "--dry-run", "--json", "events.jsonl").out)["load_id"] is None


def test_files_beside_a_missing_one_are_loaded(run: Run, settings: Settings, events: Path) -> None:
    ended = run("load", "missing.jsonl", "events.jsonl")
    assert (ended.code, ended.err) == (1, "error: 'missing.jsonl' does not exist; check the path [load 1]\n")
    assert one(settings, "select count(*) from tracks") == {"count": keys(events.read_bytes())}


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_standard_input_is_loaded(run: Run, settings: Settings, events: Path, pack: Callable[[bytes], bytes]) -> None:
    loaded = run("load", "-", stdin=pack(events.read_bytes()))
    assert (loaded.code, loaded.err) == (0, "")
    assert one(settings, "select count(*) from tracks") == {"count": keys(events.read_bytes())}


def test_standard_input_is_read_each_time(run: Run, settings: Settings) -> None:
    for number in range(3):
        assert "loaded 1 of 1 events" in run("load", "-", stdin=ndjson([event(messageId=f"m{number}")])).out
    assert one(settings, "select count(*) from tracks") == {"count": 3}


def test_several_processes_take_files_of_their_own(run: Run, settings: Settings, events: Path) -> None:
    lines = events.read_bytes().splitlines(keepends=True)
    for number in range(3):
        (events.parent / f"part-{number}.jsonl").write_bytes(b"".join(lines[number::3]))
    loaded = run("load", "--jobs", "2", "part-*.jsonl")
    assert (loaded.code, loaded.err) == (0, "")
    assert one(settings, "select count(*) from tracks") == {"count": keys(events.read_bytes())}


@pytest.mark.parametrize(("allowed", "code", "status"), [(0, 3, "partial"), (1, 3, "partial"), (2, 0, "ok")])
def test_rejects_above_a_limit_have_an_exit_code(run: Run, allowed: int, code: int, status: str) -> None:
    data = ndjson([event()]) + BROKEN + b"\n{}\n"
    ended = run("load", "-", "--json", "--max-rejects", str(allowed), stdin=data)
    assert (ended.code, json.loads(ended.out)["status"]) == (code, status)
    assert json.loads(ended.out)["events_rejected"] == 2


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
@pytest.mark.parametrize(("count", "reached"), [(3_000, opened), (16_000, committed)])
def test_a_load_from_a_pipe_can_be_interrupted(
    run: Run,
    settings: Settings,
    tmp_path: Path,
    number: signal.Signals,
    count: int,
    reached: Callable[[Settings], int],
) -> None:
    data = b"".join(sample.lines(count, seed=7))
    with started_in_pipe(settings, tmp_path, data) as process:
        until(lambda: reached(settings))
        end(process, number)
        until(lambda: not sessions(settings), 2)
    check_interrupted(settings, tmp_path, process.returncode)
    check_rest(run, settings, tmp_path, data)


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_load_that_waits_for_a_lock_can_be_interrupted(
    run: Run, settings: Settings, tmp_path: Path, generated: bytes, number: signal.Signals, jobs: int
) -> None:
    assert settings.database_url
    middle = generated.index(b"\n", len(generated) // 2) + 1
    (tmp_path / "a.jsonl").write_bytes(generated[:middle])
    (tmp_path / "b.jsonl").write_bytes(generated[middle:])
    with psycopg.connect(settings.database_url) as holder:
        holder.execute("lock table selligent.tracks in share mode")
        with started(settings, tmp_path, "load", "a.jsonl", "b.jsonl", "--jobs", str(jobs)) as process:
            until(lambda: waiting(settings) == jobs)
            end(process, number)
            holder.rollback()
            until(lambda: not sessions(settings), 2)
    check_interrupted(settings, tmp_path, process.returncode)
    check_rest(run, settings, tmp_path, generated)


def check_interrupted(settings: Settings, folder: Path, code: int) -> None:
    said = (folder / "said").read_text("utf-8")
    assert "error: interrupted; the next load continues where this one ended" in said
    assert "Traceback" not in said
    assert (code, "Fatal Python error" in said) == (1, False)
    assert one(settings, "select status, error from loads") == {"status": "failed", "error": "interrupted"}


def check_rest(run: Run, settings: Settings, folder: Path, data: bytes) -> None:
    """Load the same content from a file, and check that every row is stored once."""
    (folder / "whole.jsonl").write_bytes(data)
    before = one(settings, "select count(*) from tracks")["count"]
    loaded = run("load", "whole.jsonl", "--json")
    assert (loaded.code, json.loads(loaded.out)["events_loaded"]) == (0, keys(data) - before)
    assert one(settings, "select count(*) from tracks") == {"count": keys(data)}


def test_the_ledger_of_an_interrupted_load_counts_what_was_committed(settings: Settings, tmp_path: Path) -> None:
    data = b"".join(sample.lines(16_000, seed=7))
    with started_in_pipe(settings, tmp_path, data) as process:
        until(lambda: committed(settings))
        end(process, signal.SIGTERM)
    assert one(settings, "select events_read from loads") == {"events_read": committed(settings)}


def test_figures_can_be_left_to_a_later_refresh(run: Run, settings: Settings) -> None:
    query = "select count(*) from email_events"
    assert run("load", "-", "--no-refresh", stdin=ndjson([event()])).code == 0
    assert (one(settings, "select count(*) from tracks"), one(settings, query)) == ({"count": 1}, {"count": 0})
    assert run("refresh").out == "the views are up to date, 1 events are new\n"
    assert one(settings, query) == {"count": 1}
