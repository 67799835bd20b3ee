"""The command `status`."""

import json
from pathlib import Path

from loader.config import Settings
from tests.support.command_line import Run
from tests.support.loading import content, select


def test_status_shows_loads_collections_rejects_and_discards(run: Run, settings: Settings, events: Path) -> None:
    with events.open("ab") as file:
        file.write(b"5\n")
    run("load", "events.jsonl")
    ended = run("status")
    assert ended.code == 0
    titles = ["schema", "collections", "figures", "loads", "rejects", "discards", "discard_reasons"]
    assert [line for line in map(str.rstrip, ended.out.splitlines()) if line in titles] == titles
    status = json.loads(run("status", "--json").out)
    assert [title for title in status if status[title]] == titles
    assert {row["table"]: row["rows"] for row in status["collections"]} == {
        table: len(rows) for table, rows in content(settings).items()
    }
    assert [(row["load_id"], row["status"], row["events_read"]) for row in status["loads"]] == [(1, "partial", 2001)]
    assert status["rejects"] == [{"reason": "not_object", "events": 1}]
    assert sum(row["values"] for row in status["discards"]) == len(select(settings, "select from discarded_values")) > 0


def test_the_status_of_an_empty_schema_is_no_failure(run: Run) -> None:
    status = json.loads(run("status", "--json").out)
    assert (status["loads"], status["rejects"], status["discards"]) == ([], [], [])
    assert run("status").code == 0
