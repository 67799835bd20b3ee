"""Loading from Python: data frames and paths give the same results as the command."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import loader
from loader.config import Settings
from loader.errors import InputError
from tests.support.loading import event, ndjson, one, select

FRAME = pd.DataFrame(
    {
        "id": ["a", "b", "c"],
        "user_id": [1, None, 3],
        "anonymous_id": [None, "x@y.example", None],
        "event": "Order Completed",
        "timestamp": pd.to_datetime(["2025-01-01T00:00:00.123456789"] * 3, utc=True),
        "revenue": [12.5, float("nan"), 3],
        "items": [{"sku": "x", "n": 1}, None, {"sku": "y"}],
        "odd": [1, "two", None],
    }
)


def load(settings: Settings, source: Any, **options: Any) -> Any:
    return loader.load(source, database_url=settings.database_url, schema=settings.schema, **options)


def test_a_frame_is_loaded_once(settings: Settings) -> None:
    result = load(settings, FRAME)
    assert (result.status, result.counts["events_loaded"], result.tables["order_completed"]) == ("ok", 3, 3)
    rows = select(settings, "select user_id, revenue, items_sku, items_n, odd from order_completed order by id")
    assert [tuple(row.values()) for row in rows] == [
        ("1", 12.5, "x", 1, "1"),
        (None, None, None, None, "two"),
        ("3", 3.0, "y", None, None),
    ]
    again = load(settings, FRAME.copy())
    assert (again.files, again.counts["events_read"]) == (0, 0)
    assert load(settings, FRAME, again=True).counts["events_duplicate"] == 3
    assert one(settings, "select count(*) as n from tracks") == {"n": 3}


def test_frames_without_ids_of_events_add_what_is_new(settings: Settings) -> None:
    frame = FRAME.drop(columns="id")
    load(settings, frame)
    changed = pd.concat([frame, frame.head(1).assign(user_id=9)])
    result = load(settings, changed)
    assert (result.counts["events_loaded"], result.counts["events_duplicate"]) == (1, 3)


def test_paths_are_loaded_and_the_views_are_up_to_date(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(ndjson([event(event="Email Delivered")]))
    assert load(settings, tmp_path).status == "ok"
    assert load(settings, [str(tmp_path / "a"), tmp_path]).files == 0
    assert one(settings, "select count(*) as n from email_messages") == {"n": 1}
    with pytest.raises(InputError, match="does not exist"):
        load(settings, tmp_path / "gone")


def test_a_frame_without_the_columns_of_events_says_which(settings: Settings) -> None:
    assert "user_id" in load(settings, pd.DataFrame({"x": [1]})).errors[0]


def test_importing_is_quick() -> None:
    code = "import sys, loader; assert loader.load; assert not {'pandas', 'pyarrow', 'duckdb'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])


@pytest.mark.parametrize(
    ("command", "others"),
    [
        ("main", {"sqlalchemy", "psycopg", "numpy", "loader.cli.load"}),
        ("load", {"pandas", "fsspec", "alembic"}),
        ("status", {"numpy", "pyarrow", "duckdb", "alembic"}),
        ("serve", {"sqlalchemy", "numpy", "duckdb"}),
    ],
)
def test_a_command_does_not_wait_for_what_others_need(command: str, others: set[str]) -> None:
    code = f"import sys, loader.cli.{command}; print(*{others!r} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1], capture_output=True)
    assert run.stdout.decode().split() == []
