"""Output on standard output and standard error."""

from pathlib import Path

from tests.support.command_line import BROKEN, CONTROL, Run
from tests.support.loading import event, ndjson


def test_what_goes_into_a_pipe_has_no_control_characters(run: Run, events: Path) -> None:
    with events.open("ab") as file:
        file.write(BROKEN + b"\n")
    for arguments in ["load --verbose events.jsonl", "load events.jsonl", "status", "rejects list", "load nothing"]:
        ended = run(*arguments.split())
        assert ended.out + ended.err
        assert CONTROL.findall(ended.out + ended.err) == [], arguments


def test_names_are_printed_as_they_are(run: Run, tmp_path: Path) -> None:
    name = "[bold] :bell: events.jsonl"
    strange = [{"engagement_score": "high", "[/] :bell:": score} for score in (1, "one")]
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / name).write_bytes(
        ndjson([event(messageId=f"m{n}", properties=properties) for n, properties in enumerate(strange)]) + b"5\n"
    )
    assert run("load", "folder").code == 3
    listed, status = run("rejects", "list"), run("status")
    assert (listed.code, status.code) == (0, 0)
    assert name in listed.out
    assert "[/] :bell:" in status.out
