"""What `status`, `check` and `settings` show on a terminal.

The files in `tests/data/terminal` are what is shown; `python -m tests.terminal.test_status` writes them.
"""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from loader.config import Settings
from loader.monitoring.results import ERROR, OK, SKIP, WARN, Check
from loader.terminal.status import print_checks, print_settings, print_status
from tests.support.command_line import CONTROL, Run, run_on_terminal
from tests.support.terminal import CODES, plain, shown

FOLDER = Path(__file__).parents[1] / "data" / "terminal"
WIDTHS = (80, 120)
AT = datetime(2025, 12, 31, 23, 59, 59, 123456, tzinfo=UTC)
BRUSSELS = AT.astimezone(timezone(timedelta(hours=1)))


def load(number: int, status: str, **others: Any) -> dict[str, Any]:
    return {
        "load_id": number,
        "kind": "files",
        "status": status,
        "started_at": AT,
        "seconds": 1234.5,
        "files": 365,
        "events_read": 12_345_678,
        "events_loaded": 12_345_600,
        "events_duplicate": 0,
        "events_rejected": 0,
        "events_clock_suspect": 0,
        "error": None,
        **others,
    }


def collection(table: str, rows: int, rows_are: str) -> dict[str, Any]:
    return {"table": table, "rows": rows, "rows_are": rows_are, "newest_event": AT, "newest_load": BRUSSELS}


def discard(table: str, name: str, reason: str, values: int, todo: str) -> dict[str, Any]:
    return {"table": table, "property": name, "reason": reason, "values": values, "todo": todo}


WIDEN = "run `selligent-loader widen email_opened engagement_score`, which changes the column to text and fills them in"
STATUS: dict[str, list[dict[str, Any]]] = {
    "schema": [{"schema": "selligent", "version": "0019", "loader": "0.1.0"}],
    "running": [
        {
            "load_id": 1235,
            "kind": "files",
            "host": "worker-1.example.com",
            "process": 123_456,
            "started_at": AT,
            "is_alive": False,
            "uri": "s3://bucket/segment-logs/abcdefghij/1767139200000/part-00000.gz",
            "position": 1_234_567_890,
            "size": 12_345_678_900,
            "events_read": 12_345_678,
            "files_done": 12,
            "events_per_second": 45_678,
        }
    ],
    "collections": [
        collection("email_marked_as_spam", 1_234, "counted"),
        collection("tracks", 12_345_678, "estimated"),
        {"table": "email_bounced", "rows": 0, "rows_are": "counted", "newest_event": None, "newest_load": None},
    ],
    "figures": [
        {
            "refreshed_at": AT,
            "seconds": 3.75,
            "events_behind": 0,
            "step": None,
            "running_since": None,
            "failed_at": None,
            "error": None,
        }
    ],
    "loads": [
        load(1234, "ok", kind="replay"),
        load(1233, "partial", events_rejected=17, events_duplicate=61),
        load(1232, "failed", error="the database cannot be reached: connection to server at 127.0.0.1 failed"),
    ],
    "rejects": [{"reason": "refused_by_database", "events": 17}],
    "discards": [
        discard("email_opened", "engagementScore", "misfit", 2_045, WIDEN),
        discard("email_opened", "[/] :bell:", "nameless", 2, "ask the sender for a name with ASCII letters or digits"),
    ],
    "discard_reasons": [
        {"reason": "misfit", "values": 2_045, "todo": "run `selligent-loader widen TABLE COLUMN`"},
        {"reason": "reserved", "values": 1, "todo": "ask the sender for another name"},
    ],
    "pending": [
        {
            "table": "email_opened",
            "property": "utm",
            "values": 12,
            "since": AT,
            "why": "the table has 500 columns",
            "todo": "run `load --max-columns N` with N above 500; it writes them, also without new files",
        }
    ],
    "integrations": [
        {
            "name": "warehouse-of-the-agency",
            "status": "paused",
            "events_delivered": 12_345_678,
            "events_per_second": 812.4,
            "lag_events": 1_234,
            "lag_seconds": 61.2,
            "undelivered_now": 3,
            "failures": 0,
            "failing_since": AT,
            "error": "429 Too Many Requests",
            "host": "worker-1",
            "updated_at": AT,
        }
    ],
    "locks": [],
}
ASK = "loads run without new events: check the files, or ask the sender"
CHECKS = [
    Check("freshness of email_delivered", WARN, "newest event 30 h ago, newest load 3 min ago", ASK),
    Check("freshness of tracks", ERROR, "newest event 51 h ago, newest load 3 min ago, expected within 26 h", ASK),
    Check("freshness of email_marked_as_spam", SKIP, "newest event 9 days ago, rare: on 3 of 57 days"),
    Check("volume of email_delivered", OK, "12,345 on Wednesday 2025-12-31, median of 8 weeks 11,987"),
    Check("volume of email_marked_as_spam", SKIP, "0 on Wednesday 2025-12-31, too few weeks to compare"),
    Check("volume of email_bounced", SKIP, "2 on Wednesday 2025-12-31, median of 8 weeks 3, too few to compare"),
    Check(
        "rejected events", ERROR, "17 by loads of the last 50 h, 0 are allowed", "see `selligent-loader rejects list`"
    ),
    Check("clocks of senders", SKIP, "not checked: max_clock_skew is off"),
    Check("views", OK, "up to date"),
]
SETTINGS = [
    {"name": "exchange_rates", "value": "", "description": "Table schema.table with date, currency and rate"},
    {
        "name": "machine_agents",
        "value": "^Mozilla/5[.]0$|bot|crawl|spider|scanner|barracuda|mimecast|proofpoint|[bold]",
        "description": "User agents of machines that open or click on their own, a regular expression; the first "
        "one is that of Apple's prefetch",
    },
]
PRINTED: dict[str, Callable[[], None]] = {
    "status": partial(print_status, STATUS),
    "check": partial(print_checks, CHECKS),
    "settings": partial(print_settings, SETTINGS),
}
CASES = [(name, columns) for name in PRINTED for columns in WIDTHS]


def snapshot(name: str, columns: int) -> Path:
    return FOLDER / f"{name}_{columns}.txt"


@pytest.mark.parametrize(("name", "columns"), CASES)
def test_a_terminal_shows_what_the_file_has(monkeypatch: pytest.MonkeyPatch, name: str, columns: int) -> None:
    found = plain(shown(monkeypatch, columns, PRINTED[name]))
    assert found == snapshot(name, columns).read_text("utf-8"), "run `python -m tests.terminal.test_status`"
    assert max(map(len, found.splitlines())) <= columns


def test_levels_have_their_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = shown(monkeypatch, 80, PRINTED["check"]).splitlines()
    colours = {
        found[2].strip(): found[1] for line in lines if (found := re.match(r"\x1b\[([0-9;]+)m(\w+ *)\x1b", line))
    }
    assert colours == {"ok": "32", "warn": "33", "error": "1;31", "skip": "2"}


def test_no_check_is_lost_where_all_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    checks = [Check(f"check {number}", OK, "fine") for number in range(3)]
    found = plain(shown(monkeypatch, 80, lambda: print_checks(checks)))
    assert found.splitlines() == [*(f"ok  {check.name}: fine" for check in checks), "", "all 3 checks passed"]


def test_commands_fit_a_narrow_terminal(run: Run, settings: Settings, tmp_path: Path, events: Path) -> None:
    with events.open("ab") as file:
        file.write(b"5\n")
    run("load", "events.jsonl")
    for command in ("status", "check", "settings", "sources", "rejects list"):
        _, _, found = run_on_terminal(settings, tmp_path, *command.split(), piped=False)
        assert "\x1b[" in found
        assert [line for line in re.split("[\r\n]+", plain(found)) if len(line) > 80] == [], command


def test_no_color_means_no_codes(settings: Settings, tmp_path: Path) -> None:
    _, _, found = run_on_terminal(settings, tmp_path, "check", piped=False, NO_COLOR="1")
    assert CONTROL.findall(found.replace("\r\n", "\n")) == []
    assert re.search("^error  freshness of tracks: no events yet", found, re.MULTILINE)
    assert CODES.search(run_on_terminal(settings, tmp_path, "check", piped=False)[2])


def test_in_a_pipe_each_check_is_a_line_and_json_has_the_levels_that_it_had(run: Run) -> None:
    lines = run("check").out.splitlines()
    checks = json.loads(run("check", "--json").out)["checks"]
    assert [re.split(r" +", line)[0] for line in lines] == ["skip" if c["skipped"] else c["level"] for c in checks]
    assert {check["level"] for check in checks} == {"ok", "error"}
    assert any(check["skipped"] for check in checks)


def write() -> None:
    """Write the files that the tests compare with."""
    FOLDER.mkdir(exist_ok=True)
    for name, columns in CASES:
        with pytest.MonkeyPatch.context() as monkeypatch:
            snapshot(name, columns).write_text(plain(shown(monkeypatch, columns, PRINTED[name])), "utf-8")


if __name__ == "__main__":
    write()
