"""The command `rejects`."""

import json
import re
from pathlib import Path

from loader.config import Settings
from tests.support.command_line import BROKEN, Run, run_on_terminal
from tests.support.loading import event, ndjson


def test_a_reject_is_shown_byte_for_byte(run: Run) -> None:
    assert run("load", "-", stdin=ndjson([event()]) + BROKEN + b"\n").code == 3
    (found,) = json.loads(run("rejects", "list", "--json").out)["rejects"]
    assert (found["uri"], found["line"], found["reason"]) == ("-", 2, "not_utf8")
    shown = run("rejects", "show", str(found["rejected_id"]))
    assert (shown.code, shown.raw) == (0, BROKEN.rstrip(b" "))  # blanks after a value are not part of it
    assert "reason: not_utf8" in shown.err


def test_rejects_are_listed_the_newest_first(run: Run) -> None:
    assert run("rejects", "list").out == "no event has been rejected\n"
    run("load", "-", stdin=b"5\n{}\n6\n")
    listed = run("rejects", "list")
    assert listed.code == 0
    assert re.findall(r"\b(not_object|no_type)\b", listed.out) == ["not_object", "no_type", "not_object"]
    newest = json.loads(run("rejects", "list", "--json", "--limit", "2").out)["rejects"]
    assert [row["rejected_id"] for row in newest] == [3, 2]


def test_a_reject_on_a_terminal_ends_its_line(run: Run, settings: Settings, tmp_path: Path) -> None:
    run("load", "-", stdin=b"{}\n")
    assert run_on_terminal(settings, tmp_path, "rejects", "show", "1", piped=False)[2].endswith("\r\n{}\r\n")
