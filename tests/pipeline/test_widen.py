"""Widening a column to text, including the values that did not fit and views that depend on the column."""

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest

from loader.cli.main import run
from loader.config import Settings
from loader.pipeline.worker import Worker
from tests.support.loading import event, load_events, load_file, one, select

FIRST = {"score": 5, "share": 0.25, "done": True, "due": "2025-03-01T08:15:00+02:00"}
LATER = {"score": "high", "share": [1], "done": 1.5, "due": "soon"}


def widen(settings: Settings, *arguments: str) -> int:
    return run(["widen", *arguments, "--database-url", str(settings.database_url)])


def execute(settings: Settings, *statements: str) -> None:
    assert settings.database_url
    with psycopg.connect(settings.database_url) as connection:
        for statement in statements:
            connection.execute(statement)


@pytest.mark.parametrize(
    ("column", "kind", "texts"),
    [
        ("score", "bigint", ("5", "high")),
        ("share", "double precision", ("0.25", "[1]")),
        ("done", "boolean", ("true", "1.5")),
        ("due", "timestamp with time zone", ("2025-03-01T06:15:00.000Z", "soon")),
    ],
)
def test_a_column_becomes_text_with_what_had_not_fitted(
    settings: Settings, tmp_path: Path, capsys: Any, column: str, kind: str, texts: tuple[str, str]
) -> None:
    load_events(settings, [event(properties=FIRST), event(messageId="m2", properties=LATER)], tmp_path)
    load_events(settings, [event(messageId="m3", properties=LATER, originalTimestamp="x")], tmp_path, "no time")
    assert widen(settings, "email_opened", column, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["kind"], told["values"], told["done"]) == (kind, 2, False)
    assert widen(settings, "email_opened", column, "--yes") == 0
    stored = select(
        settings, f"select pg_typeof({column})::text as type, {column} as value from email_opened order by id"
    )
    assert [(row["type"], row["value"]) for row in stored] == [("text", text) for text in (*texts, texts[1])]
    left = select(settings, "select distinct property from discarded_values where reason = 'misfit'")
    assert {row["property"] for row in left} == set(FIRST) - {column}
    load_events(settings, [event(messageId="m4", properties={column: 7})], tmp_path, "after")
    assert one(settings, f"select {column} as value from email_opened where id = 'm4'") == {"value": "7"}
    assert widen(settings, "email_opened", column, "--yes") == 2  # it is text already


def test_a_column_of_the_context_is_widened_in_all_tables(settings: Settings, tmp_path: Path) -> None:
    events = [event(messageId=f"m{i}", event=name) for i, name in enumerate(("Email Opened", "Other", "Email Opened"))]
    for item, width in zip(events, (5, 6, "wide"), strict=True):
        item["context"] = {"width": width}
    load_events(settings, events, tmp_path)
    assert widen(settings, "tracks", "context_width", "--yes") == 0
    widths = "select context_width as width from tracks order by id"
    assert [row["width"] for row in select(settings, widths)] == ["5", "6", "wide"]
    assert [row["width"] for row in select(settings, widths.replace("tracks", "email_opened"))] == ["5", "wide"]
    assert one(settings, "select context_width as width from other") == {"width": "6"}


def test_a_view_of_others_forbids_it_and_ours_are_made_anew(settings: Settings, tmp_path: Path, capsys: Any) -> None:
    opens = [event(messageId=f"m{i}", event="Email Machine Opened", properties={"email_id": 5}) for i in range(2)]
    opens[1]["properties"] = {"email_id": "five"}
    execute(
        settings,
        "create table selligent.email_machine_opened (like selligent.email_opened including all)",
        "alter table selligent.email_machine_opened drop email_id, add email_id bigint",
        "create role widen_reader_test",
    )
    try:
        load_events(settings, opens, tmp_path)
        assert run(["refresh", "--database-url", str(settings.database_url)]) == 0
        execute(
            settings,
            "create schema mine",
            "create view mine.report as select email_id from selligent.email_machine_opened",
            "create materialized view mine.copy as select * from mine.report",
            "create view mine.other as select id from selligent.email_machine_opened",
            "grant select on selligent_ops.machine_opens, selligent.email_events to widen_reader_test",
        )
        assert widen(settings, "email_machine_opened", "email_id", "--yes") == 2
        assert "mine.copy, mine.report; drop them" in capsys.readouterr().err
        execute(settings, "drop view mine.report cascade")
        assert widen(settings, "email_machine_opened", "email_id", "--yes") == 0
        assert "selligent_ops.machine_opens" in capsys.readouterr().out
        stored = select(settings, "select email_id from email_events order by id")
        assert [row["email_id"] for row in stored] == ["5", "five"]
        granted = "select has_table_privilege('widen_reader_test', %s, 'select') as granted"
        for view in ("selligent_ops.machine_opens", "selligent.email_events"):
            assert one(settings, granted, view) == {"granted": True}
    finally:
        execute(settings, "drop owned by widen_reader_test", "drop role widen_reader_test")


def test_a_reader_makes_it_give_up_and_nothing_is_changed(settings: Settings, tmp_path: Path, capsys: Any) -> None:
    load_events(settings, [event(properties=FIRST), event(messageId="m2", properties=LATER)], tmp_path)
    assert settings.database_url
    with psycopg.connect(settings.database_url) as reader:
        reader.execute("select from selligent.email_opened")
        assert widen(settings, "email_opened", "score", "--yes") == 1
    assert "lock timeout" in capsys.readouterr().err
    assert one(settings, "select score from email_opened where id = 'm1'") == {"score": 5}
    assert len(select(settings, "select from discarded_values")) == 4


def test_a_load_that_began_before_does_not_write_numbers_as_text(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_events(settings, [event(properties=FIRST)], tmp_path, "first")
    number = int.from_bytes(b"AAAAAAAA", "big")  # in binary COPY these bytes are also valid text

    def read(worker: Worker, *arguments: Any) -> Any:
        assert widen(settings, "email_opened", "score", "--yes") == 0
        return reading(worker, *arguments)

    reading = Worker.read
    monkeypatch.setattr(Worker, "read", read)
    with pytest.raises(Exception, match="'score' of 'email_opened' was changed to text"):
        load_events(settings, [event(messageId="m2", properties={"score": number})], tmp_path)
    monkeypatch.undo()
    load_file(settings, tmp_path / "events")
    assert one(settings, "select score from email_opened where id = 'm2'") == {"score": str(number)}


def test_what_cannot_be_widened_is_told(settings: Settings, capsys: Any) -> None:
    for table, column in (("email_opened", "nothing"), ("settings", "value"), ("tracks", "timestamp"), ("x", "id")):
        assert widen(settings, table, column, "--yes") == 2
        assert column in capsys.readouterr().err
