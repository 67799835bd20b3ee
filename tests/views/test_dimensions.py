"""Properties of the setting `dimensions` stand in the views, whenever their columns and values come."""

from pathlib import Path
from typing import Any

import pytest
from psycopg import Connection

from loader.api import widen
from loader.config import Settings
from loader.errors import UsageError
from loader.pipeline.widen import plan_widening
from loader.schema.source import open_warehouse
from loader.views.refresh import is_stale, refresh
from loader.views.settings import change_setting
from tests.support.loading import Event, event, held, load_events, select
from tests.views.test_definitions import change

COLUMNS = """
    select relname, attname, col_description(attrelid, attnum)
    from pg_attribute join pg_class on pg_class.oid = attrelid
    where relnamespace = 'selligent'::regnamespace and relkind = 'v' and attname like 'audience_%' order by 1, 2
"""


def deliver(number: int, **properties: Any) -> Event:
    return event(
        event="Email Delivered",
        messageId=f"m{number}",
        userId=f"u{number}",
        properties={"campaign_id": "c", "email_id": "e"} | properties,
    )


def read(settings: Settings, column: str = "audience_language") -> list[tuple[object, ...]]:
    """Return a dimension by event and by message, and deliveries by it."""
    events = select(settings, f"select id, {column} as value from email_events order by id")
    messages = select(settings, f"select person, {column} as value from email_messages order by person")
    assert [row["value"] for row in events] == [row["value"] for row in messages]
    days = select(
        settings, f"select {column} as value, sum(delivered)::int as n from campaign_days group by 1 order by 1"
    )
    return [(row["value"], row["n"]) for row in days]


def test_a_name_that_the_views_cannot_have_is_refused(settings: Settings) -> None:
    with open_warehouse(settings) as warehouse, warehouse.transaction():
        for value in ("person", "a, a", "Audience", "1a", "delivered", 'a"b', "a" * 64):
            with pytest.raises(UsageError, match="'dimensions'"):
                change_setting(warehouse, "dimensions", value)
        change_setting(warehouse, "dimensions", "audience_language audience_segment")


def test_dimensions_divide_the_days_of_campaigns_until_they_are_taken_back(
    settings: Settings, connection: Connection[Any], tmp_path: Path
) -> None:
    audiences: list[dict[str, Any]] = [
        {"language": "fr", "segment": "gold"},
        {"language": "nl", "segment": "gold"},
        {"language": "fr"},
    ]
    load_events(settings, [deliver(n, audience=audience) for n, audience in enumerate(audiences)], tmp_path)
    refresh(settings)
    assert connection.execute(COLUMNS.encode()).fetchall() == []
    change(settings, "dimensions", "audience_segment, audience_language")
    refresh(settings)
    found = connection.execute(COLUMNS.encode()).fetchall()
    assert found == [
        (view, column, f"Property {column}, of the setting dimensions")
        for view in ("campaign_days", "email_events", "email_messages")
        for column in ("audience_language", "audience_segment")
    ]
    assert read(settings) == [("fr", 2), ("nl", 1)]
    assert read(settings, "audience_segment") == [("gold", 2), (None, 1)]
    assert select(settings, "select * from load_health where not is_ok") == []
    change(settings, "dimensions", "audience_language")
    refresh(settings)
    assert read(settings) == [("fr", 2), ("nl", 1)]
    change(settings, "dimensions", "")
    refresh(settings)
    assert connection.execute(COLUMNS.encode()).fetchall() == []
    assert connection.execute("select delivered from campaign_days").fetchall() == [(3,)]


def test_a_column_that_comes_later_and_values_that_are_filled_in_later_count(
    settings: Settings, tmp_path: Path
) -> None:
    change(settings, "dimensions", "audience_language")
    load_events(settings, [deliver(0)], tmp_path, "0")
    refresh(settings)
    assert read(settings) == [(None, 1)]
    with held(settings, "email_delivered"):
        load_events(settings, [deliver(1, audience={"language": 5})], tmp_path, "1")
    refresh(settings)
    assert read(settings) == [(None, 2)]
    load_events(settings, [deliver(2, audience={"language": "fr"})], tmp_path, "2")
    refresh(settings)
    assert read(settings) == [("5", 1), (None, 2)]
    with held(settings, "email_delivered"):
        load_events(settings, [deliver(3, audience={"language": 5, "other": 1})], tmp_path, "3")
    load_events(settings, [], tmp_path, "nothing")  # fills in a value of another property
    assert is_stale(settings)
    refresh(settings)
    assert read(settings) == [("5", 2), (None, 2)]
    with open_warehouse(settings) as warehouse:
        plan = plan_widening(settings, warehouse, "email_delivered", "audience_language")
    widen(settings, plan)
    assert read(settings) == [("5", 2), ("fr", 1), (None, 1)]


def test_the_dimensions_of_a_message_are_its_deliverys(settings: Settings, tmp_path: Path) -> None:
    change(settings, "dimensions", "audience_language")
    opened = deliver(0, audience={"language": "nl"}) | {"event": "Email Opened", "messageId": "o"}
    load_events(settings, [opened], tmp_path, "opened")
    refresh(settings)
    languages = "select audience_language as value from email_messages"
    assert select(settings, languages) == [{"value": "nl"}]
    load_events(settings, [deliver(0, audience={"language": "fr"})], tmp_path, "delivered")
    refresh(settings)
    assert {row["value"] for row in select(settings, languages)} == {"fr"}
