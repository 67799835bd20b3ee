"""A warehouse made by version 0.1.0 (revision 0009) goes on working: the same figures, nothing lost, loads continue.

`tests/data/warehouse_0009.sql.gz` is a dump of one with 599 sample events, the site's data, a table made at run time,
rejected events, discarded values, a write key and a changed setting.
"""

import gzip
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from loader.config import Settings
from loader.postgres.embedded_programs import find_wheel
from tests.conftest import database
from tests.support.command_line import Run, run_command
from tests.support.loading import event, load_events, one, select

DUMP = Path(__file__).parents[1] / "data" / "warehouse_0009.sql.gz"
VIEWS = [path.stem for path in sorted(Path("sql/views").glob("*.sql"))]


@pytest.fixture
def old(server: str) -> Iterator[Settings]:
    """A database with the dump in it."""
    name = f"old_{uuid4().hex[:12]}"
    url = database(server, name)
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        psql = [
            str(find_wheel() / "pginstall/bin/psql"),
            "-X",
            "-q",
            "-o",
            "/dev/null",
            "-v",
            "ON_ERROR_STOP=1",
            "-d",
            url,
        ]
        subprocess.run(psql, input=gzip.decompress(DUMP.read_bytes()), check=True)
        yield Settings(url, "selligent")
        connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


@pytest.fixture
def run(old: Settings, tmp_path: Path) -> Run:
    def run(*arguments: str, **named: Any) -> Any:
        return run_command(old, tmp_path, *arguments, **named)

    return run


#: Percentiles of `campaigns`, which are exact to 1 % since revision 0010.
PERCENTILES = ("time_to_open_median", "time_to_open_p90", "time_to_click_median", "time_to_click_p90")


#: Columns that name the rows of a view to which later versions have added rows.
NAMES = {"load_health": "check_name", "identity_coverage": "matched_by"}


def columns_of_views(settings: Settings) -> dict[str, list[str]]:
    """Return the columns of each view, without the percentiles."""
    query = """
        select table_name as view, array_agg(quote_ident(column_name) order by ordinal_position) as columns
        from information_schema.columns
        where table_schema = %s and table_name = any(%s) and column_name <> all(%s)
        group by table_name
    """
    found = select(settings, query, settings.schema, list(VIEWS), list(PERCENTILES))
    return {row["view"]: row["columns"] for row in found}


def figures(settings: Settings, views: dict[str, list[str]]) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of these columns of views in one order."""
    rows = {view: select(settings, f"select {', '.join(columns)} from {view}") for view, columns in views.items()}
    return {view: sorted(found, key=str) for view, found in rows.items()}


def percentiles(settings: Settings) -> list[float | None]:
    """Return the percentiles of all campaigns in seconds."""
    columns = ", ".join(f"extract(epoch from {name})::float8 as {name}" for name in PERCENTILES)
    rows = select(settings, f"select {columns} from campaigns order by campaign_id")
    return [value for row in rows for value in row.values()]


def test_a_migrated_warehouse_has_the_same_figures(run: Run, old: Settings) -> None:
    views = columns_of_views(old)
    before, exact = figures(old, views), percentiles(old)
    assert len(before["email_events"]) > 500
    migrated = run("migrate")
    assert migrated.code == 0
    assert "the figures behind the views are built again from 600 events" in migrated.err
    after = figures(old, views)
    for view, name in NAMES.items():
        known = {row[name] for row in before[view]}
        after[view] = [row for row in after[view] if row[name] in known]
    assert after == before
    assert percentiles(old) == [value if value is None else pytest.approx(value, rel=0.01) for value in exact]
    again = run("migrate")
    assert (again.out, again.err) == ("schema 'selligent' is up to date\n", "")


def test_a_migrated_warehouse_takes_loads_replays_and_wider_columns(run: Run, old: Settings, tmp_path: Path) -> None:
    assert run("migrate").code == 0
    stored = one(old, "select count(*) from tracks")["count"]
    assert load_events(old, [event(messageId="new")], tmp_path).counts["events_loaded"] == 1
    assert one(old, "select count(*) from tracks")["count"] == stored + 1
    assert run("refresh").code == 0
    assert one(old, "select count(*) from email_events where id = 'new'") == {"count": 1}
    assert run("rejects", "replay").code == 0
    assert one(old, "select count(*) from rejected_events where replayed_at is null") == {"count": 2}
    assert run("widen", "order_placed", "total", "--yes").code == 0
    assert [row["total"] for row in select(old, "select total from order_placed order by id")] == ["12", "twelve", "5"]
    assert "Europe/Brussels" in run("settings", "list").out
    assert run("keys", "list", "--json").code == 0
    assert run("check", "--json").code in {3, 5}  # its events are old
