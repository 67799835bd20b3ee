"""The progress bar on a terminal."""

import re
from pathlib import Path

from loader.config import Settings
from tests.support.command_line import CONTROL, Run, run_on_terminal
from tests.support.terminal import plain


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
    assert re.search(r"\x1b\[32mloaded\x1b\[0m [\d,]+ of 2,000 events from 1 file", shown)


def test_the_bar_has_the_name_and_the_place_of_the_file(settings: Settings, tmp_path: Path, events: Path) -> None:
    (tmp_path / "folder").mkdir()
    names = [f"{number} of 2: {'long-' * 20}{number}.jsonl" for number in (1, 2)]
    for name in names:
        (tmp_path / "folder" / name.rpartition(" ")[2]).write_bytes(events.read_bytes())
    for columns, width in ((80, 26), (120, 66)):
        _, _, shown = run_on_terminal(settings, tmp_path, "load", "folder", "--again", piped=False, columns=columns)
        lines = {line[:width] for line in re.split("[\r\n]+", plain(shown))}
        assert {f"{name[: width - 1]}…" for name in names} <= lines


def test_a_dry_run_gives_no_advice_on_what_it_did_not_write(run: Run, events: Path) -> None:
    with events.open("ab") as file:
        file.write(b"5\n")
    dry, stored = run("load", "--dry-run", "events.jsonl").out, run("load", "events.jsonl").out
    for text in ("1 rejected events", "discarded values"):
        assert text in dry
        assert text in stored
    assert ("`selligent-loader" in dry, stored.count("`selligent-loader")) == (False, 2)
