"""Load events and read rows in tests."""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from loader.api import RETRY_FOR
from loader.api import load as load_and_refresh
from loader.config import Settings
from loader.pipeline.options import Options
from loader.pipeline.result import LoadResult

Event = dict[str, Any]

BASE: Event = {
    "type": "track",
    "event": "Email Opened",
    "messageId": "m1",
    "userId": "u1",
    "originalTimestamp": "2025-01-01T00:00:00.000Z",
    "sentAt": "2025-01-01T00:00:01.000Z",
    "receivedAt": "2025-01-01T00:00:03.000Z",
    "timestamp": "2025-01-01T00:00:02.000Z",
}


def load(settings: Settings, paths: Sequence[str], options: Options, retry_for: timedelta = RETRY_FOR) -> LoadResult:
    """Load as the command does, but without the refresh of the views."""
    return load_and_refresh(replace(settings, retry_for=retry_for), paths, options, is_refreshing=False)


def event(**fields: Any) -> Event:
    """Return an event like BASE with these fields changed; fields that are None are removed."""
    return {key: value for key, value in {**BASE, **fields}.items() if value is not None}


def ndjson(events: Iterable[Any]) -> bytes:
    return b"".join(json.dumps(item).encode() + b"\n" for item in events)


def load_file(settings: Settings, path: Path, **options: Any) -> LoadResult:
    return load(settings, [str(path)], Options(**options))


def load_bytes(settings: Settings, content: bytes, tmp_path: Path, name: str = "events", **options: Any) -> LoadResult:
    path = tmp_path / name
    path.write_bytes(content)
    return load_file(settings, path, **options)


def load_events(settings: Settings, events: Iterable[Any], tmp_path: Path, name: str = "events") -> LoadResult:
    return load_bytes(settings, ndjson(events), tmp_path, name)


def select(settings: Settings, query: str, *parameters: object) -> list[dict[str, Any]]:
    assert settings.database_url
    with psycopg.connect(settings.database_url, row_factory=dict_row) as connection:
        connection.execute(f'set search_path to "{settings.schema}", "{settings.schema}_ops"; set timezone to \'UTC\'')
        return connection.execute(query, parameters or None).fetchall()


def one(settings: Settings, query: str, *parameters: object) -> dict[str, Any]:
    (row,) = select(settings, query, *parameters)
    return row


def tables(settings: Settings) -> list[str]:
    """Return the names of the event tables, `tracks` included."""
    query = """
        select relname from pg_class
        where relnamespace = %s::regnamespace and relkind = 'r' and relname <> 'settings' order by relname
    """
    return [row["relname"] for row in select(settings, query, settings.schema)]


def content(settings: Settings) -> dict[str, list[str]]:
    """Return all rows of the event tables in a fixed order, without the load times."""
    return {
        table: [
            row["text"]
            for row in select(
                settings, f"select (to_jsonb(t) - 'uuid_ts')::text as text from \"{table}\" as t order by 1"
            )
        ]
        for table in tables(settings)
    }


@contextmanager
def held(settings: Settings, *names: str) -> Iterator[None]:
    """Keep a transaction open that has read these tables."""
    assert settings.database_url
    with psycopg.connect(settings.database_url) as reader:
        for name in names:
            reader.execute(f"select from {settings.schema}.{name}")
        yield
