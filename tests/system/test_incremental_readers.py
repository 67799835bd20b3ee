"""A tool that copies what is new, with the query of docs/incremental.md, has all rows after each refresh."""

import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from loader.api import widen
from loader.config import Settings
from loader.pipeline.widen import plan_widening
from loader.schema.source import open_warehouse
from loader.views.refresh import is_stale, refresh
from tests.support.loading import event, held, load_events, one, select

QUERY = re.findall(r"```sql\n(.*?)```", (Path(__file__).parents[2] / "docs" / "incremental.md").read_text(), re.DOTALL)[
    0
]


class Reader:
    """Keeps copies of event tables by `event_key`, and the largest position that it has read of each."""

    def __init__(self, settings: Settings, *tables: str) -> None:
        self.settings = settings
        self.positions = dict.fromkeys(tables, 0)
        self.copies: dict[str, dict[str, dict[str, Any]]] = {table: {} for table in tables}

    def read(self) -> int:
        """Read what is new and return the number of rows."""
        rows = 0
        for table, position in self.positions.items():
            query = QUERY.replace("> 0", f"> {position}").replace("email_opened", table)
            assert query.count(f"> {position}") == 2
            for row in select(self.settings, query):
                self.positions[table] = max(self.positions[table], row.pop("position"))
                self.copies[table][row.pop("event_key")] = row
                rows += 1
        return rows

    def check(self) -> None:
        """Check that the copies are the tables."""
        for table, copy in self.copies.items():
            rows = sorted(map(repr, select(self.settings, f"select * from {table}")))
            assert sorted(map(repr, copy.values())) == rows, table


@pytest.fixture
def reader(settings: Settings) -> Reader:
    return Reader(settings, "email_opened", "tracks")


@pytest.fixture
def slow_load(settings: Settings, tmp_path: Path) -> Iterator[tuple[threading.Thread, threading.Event]]:
    """A load that has stored its event, and does not commit before the event is set."""
    copied, may_commit = threading.Event(), threading.Event()
    thread = threading.Thread(target=lambda: load_events(settings, [event(messageId="slow")], tmp_path, "slow"))

    def wait(name: str, arguments: tuple[Any, ...]) -> None:
        if name == "selligent_loader.step" and arguments[0] == "chunk.copied" and threading.current_thread() is thread:
            copied.set()
            may_commit.wait(30)

    sys.addaudithook(wait)
    thread.start()
    assert copied.wait(30)
    yield thread, may_commit
    may_commit.set()
    thread.join()


def test_a_load_that_commits_after_a_later_one_is_not_missed(
    settings: Settings, tmp_path: Path, reader: Reader, slow_load: tuple[threading.Thread, threading.Event]
) -> None:
    thread, may_commit = slow_load
    load_events(settings, [event(messageId="quick")], tmp_path, "quick")
    refresh(settings)
    assert reader.read() == 2
    assert reader.copies["email_opened"].keys() == {"quick@1735689600.000000"}
    may_commit.set()
    thread.join()
    assert is_stale(settings)
    refresh(settings)
    times = {row["id"]: row["uuid_ts"] for row in select(settings, "select id, uuid_ts from email_opened")}
    assert times["slow"] < times["quick"]
    assert reader.read() == 2
    reader.check()
    assert reader.read() == 0


def test_rows_whose_values_were_filled_in_are_read_again(settings: Settings, tmp_path: Path, reader: Reader) -> None:
    load_events(settings, [event(messageId="before")], tmp_path, "before")
    new = event(messageId="new", originalTimestamp="x", properties={"score": 1}, context={"screen": {"width": 5}})
    with held(settings, "email_opened", "tracks"):
        load_events(settings, [new], tmp_path, "new")
    refresh(settings)
    assert reader.read() == 4
    assert "score" not in reader.copies["email_opened"]["new@"]
    assert load_events(settings, [], tmp_path, "nothing").values_placed == 2
    assert is_stale(settings)
    refresh(settings)
    assert not is_stale(settings)
    assert reader.read() == 2
    assert reader.copies["email_opened"]["new@"]["score"] == 1
    assert reader.copies["tracks"]["new@"]["context_screen_width"] == 5


def test_rows_of_a_widened_column_are_read_again(settings: Settings, tmp_path: Path, reader: Reader) -> None:
    for number, value in enumerate((1, "high")):
        load_events(settings, [event(messageId=f"m{number}", properties={"score": value})], tmp_path, f"{number}")
    load_events(settings, [event(event="Email Delivered", messageId="other")], tmp_path, "other")
    refresh(settings)
    assert reader.read() == 5
    assert [reader.copies["email_opened"][f"m{n}@1735689600.000000"]["score"] for n in (0, 1)] == [1, None]
    with open_warehouse(settings) as warehouse:
        plan = plan_widening(settings, warehouse, "email_opened", "score")
    widen(settings, plan)
    assert reader.read() == 4
    assert [reader.copies["email_opened"][f"m{n}@1735689600.000000"]["score"] for n in (0, 1)] == ["1", "high"]
    reader.check()


def test_positions_stay_when_all_figures_are_computed_again_unless_rows_have_gone(
    settings: Settings, tmp_path: Path, reader: Reader
) -> None:
    for number in range(2):
        load_events(settings, [event(messageId=f"m{number}")], tmp_path, f"{number}")
        refresh(settings)
    before = select(settings, "select * from loaded_chunks order by position")
    assert [row["position"] for row in before] == [1, 2]
    refresh(settings, rebuild=True)
    assert select(settings, "select * from loaded_chunks order by position") == before
    assert settings.database_url
    with psycopg.connect(settings.database_url) as connection:
        for table in ("tracks", "email_opened"):
            columns = "event, event_text, received_at, timestamp, uuid_ts"
            connection.execute(
                f"insert into selligent.{table} (id, {columns}) select 'x', {columns} from selligent.{table} "
                "where id = 'm0'"
            )
            connection.execute(f"delete from selligent.{table} where id = 'm1'")
    refresh(settings, full=True)
    # The newest chunk is gone, and its position is not used again.
    assert [row["position"] for row in select(settings, "select position from loaded_chunks")] == [3]


def test_the_key_of_an_event_is_the_same_in_email_events_and_unique(
    settings: Settings, tmp_path: Path, reader: Reader
) -> None:
    times = ("2025-01-01T00:00:00.000Z", "1960-01-01T00:00:00.000001Z", "x")
    load_events(settings, [event(messageId=i, originalTimestamp=t) for i in ("a", "a@1") for t in times], tmp_path)
    refresh(settings)
    reader.read()
    keys = {row["event_key"] for row in select(settings, "select event_key from email_events")}
    assert keys == reader.copies["email_opened"].keys()
    assert len(keys) == 6
    assert {"a@", "a@1@"} < keys


def test_analysts_can_read_positions(settings: Settings, tmp_path: Path) -> None:
    load_events(settings, [event()], tmp_path)
    refresh(settings)
    assert settings.database_url
    with psycopg.connect(settings.database_url, row_factory=dict_row, autocommit=True) as connection:
        connection.execute("create role position_reader login")
        connection.execute("grant usage on schema selligent to position_reader")
        connection.execute("grant select on all tables in schema selligent to position_reader")
        connection.execute("set role position_reader")
        try:
            assert len(connection.execute(QUERY.encode()).fetchall()) == 1
        finally:
            connection.execute("reset role; drop owned by position_reader; drop role position_reader")
    assert one(settings, "select count(*) as chunks from loaded_chunks") == {"chunks": 1}
