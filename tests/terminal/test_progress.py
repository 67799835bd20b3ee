"""The progress bar on a terminal."""

import re
from pathlib import Path

from loader.config import Settings
from tests.support.command_line import CONTROL, run_on_terminal


def test_on_a_terminal_progress_goes_to_standard_error(settings: Settings, tmp_path: Path, events: Path) -> None:
    code, out, shown = run_on_terminal(settings, tmp_path, "load", "events.jsonl", piped=True)
    assert (code, CONTROL.findall(out)) == (0, [])
    assert "loaded" in out
    assert "loaded" not in shown
    assert "\x1b[" in shown
    assert re.search(r"100%.*2,000 events, [\d,]+/s", shown)


def test_a_load_on_a_terminal_ends_with_its_summary(settings: Settings, tmp_path: Path, events: Path) -> None:
    code, _, shown = run_on_terminal(settings, tmp_path, "load", "events.jsonl", piped=False)
    assert code == 0
    assert re.search(r"loaded [\d,]+ of 2,000 events from 1 file", shown)
