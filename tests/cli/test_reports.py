"""The command `report`."""

import re
from functools import partial
from pathlib import Path

import pytest

from loader.config import Settings
from tests.support.command_line import Run, run_command

QUARTER = ("--from", "2025-10-01", "--to", "2025-12-31")


@pytest.fixture
def run_sampled(sampled: Settings, tmp_path: Path) -> Run:
    """Run a command on the database with sample events and the data of a site."""
    return partial(run_command, sampled, tmp_path)


def test_a_report_is_written_to_a_file(run_sampled: Run, tmp_path: Path) -> None:
    ended = run_sampled("report", *QUARTER)
    assert (ended.code, ended.out, ended.err) == (0, "report.html reports 2025-10-01 to 2025-12-31\n", "")
    page = (tmp_path / "report.html").read_text("utf-8")
    assert len(page.encode()) < 150_000
    assert "1 October 2025" in page
    assert "€" in page


def test_a_report_of_a_campaign_is_written_to_standard_output(run_sampled: Run, tmp_path: Path) -> None:
    ended = run_sampled("report", *QUARTER, "--campaign", "10412", "--locale", "de", "--out", "-")
    assert (ended.code, ended.err) == (0, "")
    assert "<h1>Welcome series</h1>" in ended.out
    assert "1. Oktober 2025" in ended.out
    assert list(tmp_path.iterdir()) == []


def test_the_days_count_back_from_the_last_one(run_sampled: Run) -> None:
    ended = run_sampled("report", "--to", "2025-11-30", "--days", "30", "--out", "november.html")
    assert ended.out == "november.html reports 2025-11-01 to 2025-11-30\n"


def test_the_file_is_opened_in_the_browser(run_sampled: Run, tmp_path: Path) -> None:
    program = tmp_path / "browser"
    program.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/opened\n')
    program.chmod(0o755)
    assert run_sampled("report", *QUARTER, "--open", BROWSER=f"{program} %s").code == 0
    assert (tmp_path / "opened").read_text() == f"{(tmp_path / 'report.html').as_uri()}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--from", "2025-10-01", "--days", "3"], "--from and --days contradict each other"),
        (["--open", "--out", "-"], "--open needs a file"),
        (["--campaign", "nope"], "there is no campaign 'nope'"),
        (["--locale", "xx"], "there is no locale 'xx'"),
        (["--from", "soon"], "'soon' does not match the format"),
    ],
    ids=["both lengths", "no file to open", "campaign", "locale", "date"],
)
def test_what_is_wrong_is_reported_and_nothing_is_written(
    run_sampled: Run, tmp_path: Path, arguments: list[str], message: str
) -> None:
    ended = run_sampled("report", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert message in re.sub(r"\s+", " ", ended.err)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_is_reported(run_sampled: Run) -> None:
    ended = run_sampled("report", *QUARTER, "--out", "nowhere/report.html")
    assert ended.code == 1
    assert "nowhere/report.html" in ended.err
    assert "Traceback" not in ended.err
