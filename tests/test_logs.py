"""Logs: every line of a load has its number, in every process; no line has personal data or secrets."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from loader.config import Settings
from loader.terminal.progress import report_progress
from tests.support.command_line import Run
from tests.support.loading import event, ndjson, one, select

#: Part of all personal data and secrets.
MARK = "zqx9"


@pytest.fixture
def url(settings: Settings) -> Iterator[str]:
    """The URL of the test's database with its own role and password."""
    assert settings.database_url
    place, role = conninfo_to_dict(settings.database_url), f"keeper_{uuid4().hex[:8]}"
    with psycopg.connect(settings.database_url, autocommit=True) as connection:
        script = "create role {role} superuser login password {password}"
        connection.execute(sql.SQL(script).format(role=sql.Identifier(role), password=sql.Literal(f"{MARK}-{MARK}")))
        yield f"postgresql://{role}:{MARK}-{MARK}@{place['host']}:{place.get('port', 5432)}/{place['dbname']}"
        connection.execute(
            sql.SQL("reassign owned by {role} to current_user; drop role {role}").format(role=sql.Identifier(role))
        )


def person(**fields: object) -> dict[str, object]:
    """Return an event with the mark in all personal data."""
    traits = {"email": f"ada.{MARK}@{MARK}.example"}
    context = {"ip": f"10.0.0.1/{MARK}", "userAgent": f"Mail {MARK}", "traits": traits}
    properties = {"campaign_name": f"For {MARK}", "link_url": f"https://x.example/?token={MARK}", "score": 1}
    own = {"userId": f"user-{MARK}", "anonymousId": traits["email"], "context": context, "properties": properties}
    return event(**{**own, **fields})


def write_troubles(folder: Path) -> None:
    """Write files that cause every kind of reject, discarded value and error."""
    marked = f'"{MARK}"'.encode()
    broken = [b"\xff" + marked, marked, b"{" + marked, b'{"type":' + marked + b"}", b'{"type":"track","x":' + marked]
    events = [person(messageId=f"{MARK}{n}") for n in range(20)]
    events += [
        person(messageId=f"{MARK}1", event="Email Link Clicked"),  # the key of another event
        person(messageId=f"{MARK}misfit", properties={"score": MARK}),
        person(messageId=f"{MARK}refused", event="Email Unsubscribed", properties={"list_name": f"{MARK} too long"}),
        person(messageId=f"{MARK}time", timestamp=MARK, sentAt=MARK, originalTimestamp=MARK),
        person(messageId=f"{MARK}key" * 50),
    ]
    (folder / "a.jsonl").write_bytes(ndjson(events) + b"\n".join(broken))
    (folder / "b.jsonl").write_bytes(ndjson(person(messageId=f"{MARK}b{n}", event="Order Completed") for n in range(9)))
    (folder / "c.jsonl").write_bytes(b"BZh" + marked)


def numbers(err: str, style: str) -> set[str]:
    """Return the numbers of loads on the lines of standard error. Each line must have one."""
    lines = err.splitlines()
    if style == "json":
        return {str(json.loads(line)["load_id"]) for line in lines}
    found = [re.search(r" \[load (\d+)\]$", line) for line in lines]
    return {one[1] if one else line for one, line in zip(found, lines, strict=True)}


@pytest.mark.parametrize(("style", "jobs"), [("text", "1"), ("json", "2")])
def test_no_line_is_personal_and_each_has_the_load(
    run: Run,
    settings: Settings,
    url: str,
    tmp_path: Path,
    style: str,
    jobs: str,
) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("alter table selligent.email_unsubscribed alter list_name type varchar(5)")
    write_troubles(tmp_path)
    how = ("--verbose", "--log-format", style, "--jobs", jobs, "--database-url", url)
    with psycopg.connect(url) as reader:  # so that the first load cannot add columns
        reader.execute("select from selligent.email_opened, selligent.email_link_clicked")
        first = run("load", "a.jsonl", "b.jsonl", "c.jsonl", *how)
    assert first.code == 1
    assert numbers(first.err, style) == {"1"}
    assert "lock timeout" in first.err
    assert "compressed with bzip2" in first.err
    with psycopg.connect(url) as connection:
        connection.execute("alter table selligent.email_opened add check (id <> 'fails')")
    (tmp_path / "d.jsonl").write_bytes(ndjson([person(messageId="fails"), person(messageId="other")]))
    failed = run("load", "d.jsonl", "--json", *how)
    again = run("load", "a.jsonl", "--again", *how)
    assert (failed.code, again.code) == (1, 3)
    assert (numbers(failed.err, style), numbers(again.err, style)) == ({"2"}, {"3"})
    wrong = run("load", "a.jsonl", "--verbose", "--log-format", style, SELLIGENT_DATABASE_URL=url.replace("-", "+"))
    assert "password authentication failed" in wrong.err
    for ended in (first, failed, again, wrong):
        assert MARK not in ended.out + ended.err
    reasons = {row["reason"] for row in select(settings, "select distinct reason from rejected_events")}
    assert reasons >= {"not_json", "not_utf8", "not_object", "unknown_type", "key_conflict", "refused_by_database"}
    assert one(settings, "select count(*) from tracks where user_id like %s", f"%{MARK}")["count"] > 20


def test_the_lines_of_all_processes_have_the_load(run: Run, tmp_path: Path) -> None:
    for name in "abcdef":  # enough that neither load has them all before the other begins
        (tmp_path / name).write_bytes(ndjson(event(messageId=f"{name}{n}") for n in range(10_000)))
    ended = run("load", *"abcdef", "--jobs", "2", "--verbose", "--log-format", "json")
    lines = [json.loads(line) for line in ended.err.splitlines()]
    assert {line["load_id"] for line in lines} == {1}
    assert len({line["process"] for line in lines if line["message"].startswith("reading")}) == 2
    assert {line.keys() == {"time", "level", "load_id", "process", "logger", "message"} for line in lines} == {True}


def test_progress_is_a_line_of_the_log(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr("loader.terminal.progress.LINE_SECONDS", 0.0)
    with report_progress(200, 3) as report:
        report.begin("s3://bucket/events.jsonl")
        report.add(50, 1000)
    assert caplog.messages[0].startswith("25%, 1,000 events, ")
    assert caplog.messages[0].endswith("/s, 1 of 3: events.jsonl")
    assert caplog.records[0].name == "loader.terminal.progress"


def test_errors_without_a_load_are_lines_of_the_format(run: Run) -> None:
    ended = run("load", "missing.jsonl", "--log-format", "json")
    (line,) = map(json.loads, ended.err.splitlines())
    assert (ended.code, line["level"], line["load_id"]) == (1, "error", None)
    assert line["message"] == "'missing.jsonl' does not exist; check the path"
