"""The views' other dependencies: variants of the site's tables, settings, grants, and dependent views."""

import json
import re
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread
from typing import Any

import psycopg
import pytest
from psycopg import Connection
from psycopg.conninfo import make_conninfo

from loader.cli.main import run
from loader.config import Settings
from loader.errors import SchemaError
from loader.migrate import migrate
from loader.postgres import advisory_locks
from loader.postgres.embedded_programs import find_wheel
from loader.sample import site
from loader.views.refresh import is_stale, refresh
from tests.support.loading import event, load_events, ndjson


@pytest.fixture
def command(settings: Settings, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run a command on the database; return its exit code and output."""

    def run_command(*arguments: str) -> tuple[int, str, str]:
        code = run([*arguments, "--database-url", settings.database_url or ""])
        return code, *capsys.readouterr()

    return run_command


def columns(connection: Connection[Any], view: str) -> list[tuple[Any, ...]]:
    return connection.execute(f"select * from {view} order by id".encode()).fetchall()


def test_without_the_sites_data_its_views_are_empty_not_absent(connection: Connection[Any]) -> None:
    assert columns(connection, "site_events") == columns(connection, "conversions") == []


def test_a_site_event_without_text_shows_its_name(connection: Connection[Any], command: Any) -> None:
    connection.execute("create schema shop; create table shop.tracks (id text, event text, event_text text)")
    connection.execute("insert into shop.tracks values ('a', 'signed_up', null), ('b', 'signed_up', 'Signed Up')")
    assert command("init", "--segment-schema", "shop")[0] == 0
    query = "select id, event from site_events order by id"
    assert connection.execute(query).fetchall() == [("a", "signed_up"), ("b", "Signed Up")]


def test_revenue_that_is_unknown_is_attributed_as_unknown(connection: Connection[Any], command: Any) -> None:
    connection.execute(
        """
        create schema shop;
        create table shop.order_completed (id text, user_id text, "timestamp" timestamptz, revenue numeric);
        insert into shop.order_completed values ('a', 'p', '2025-01-01', null), ('b', 'p', '2025-01-01', 5)
        """
    )
    assert command("init", "--segment-schema", "shop")[0] == 0
    query = "select id, credit, attributed_revenue from conversions_attributed where is_default order by id"
    assert connection.execute(query).fetchall() == [("a", 0, None), ("b", 0, 0)]


def test_visits_are_read_from_the_first_event_on(
    connection: Connection[Any], settings: Settings, command: Any, tmp_path: Path
) -> None:
    """With it all figures are computed, so visits that were read before it would be read twice."""
    connection.execute(
        """
        create schema shop;
        create table shop.pages (id text, user_id text, received_at timestamptz);
        create table shop.order_completed (id text, user_id text, received_at timestamptz, revenue numeric);
        insert into shop.pages values ('a', 'p', '2025-01-01');
        insert into shop.order_completed values ('b', 'p', '2025-01-02', 5)
        """
    )
    read = (
        "select kind from selligent_ops.stored_site_days join selligent_ops.stored_sources using (source) order by kind"
    )
    assert command("init", "--segment-schema", "shop")[0] == 0
    refresh(settings, full=True)
    assert connection.execute(read).fetchall() == [("conversions",)]
    load_events(settings, [event()], tmp_path)
    refresh(settings)
    assert connection.execute(read).fetchall() == [("conversions",), ("visits",)]
    connection.execute("insert into shop.pages values ('c', 'p', '2025-01-03')")
    refresh(settings)
    assert connection.execute(read).fetchall() == [("conversions",), ("visits",), ("visits",)]


def test_missing_columns_are_null_and_new_ones_are_picked_up(connection: Connection[Any], command: Any) -> None:
    connection.execute("create schema shop; create table shop.pages (id text, received_at timestamp)")
    connection.execute("create table shop.order_completed (id text, total text)")
    connection.execute("insert into shop.pages values ('p', '2025-01-01 10:00')")
    connection.execute("insert into shop.order_completed values ('a', '12.50'), ('b', 'a lot')")
    assert command("init", "--segment-schema", "shop")[0] == 0
    code, *_ = command("settings", "set", "conversion_events", "order_completed:total order_completed_twice:total")
    assert code == 0
    ((*page,),) = connection.execute("select id, user_id, event, timestamp at time zone 'UTC', url from site_events")
    assert [str(value) for value in page] == ["p", "None", "page", "2025-01-01 10:00:00", "None"]
    orders = connection.execute("select id, revenue::text, currency from conversions order by id").fetchall()
    assert orders == [("a", "12.50", None), ("b", None, None)]
    connection.execute("alter table shop.pages add column url text default 'https://shop.example/'")
    assert command("migrate")[0] == 0
    assert connection.execute("select url from site_events").fetchall() == [("https://shop.example/",)]


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("no_such", "1", "there is no setting 'no_such'"),
        ("machine_open_seconds", "soon", "'soon' is invalid for 'machine_open_seconds'"),
        ("machine_agents", "(", "'(' is invalid for 'machine_agents'"),
        ("visit_window", "long", "'long' is invalid for 'visit_window'"),
        ("site_look_back", "far", "'far' is invalid for 'site_look_back'"),
        ("window_last_click", "ever", "'ever' is invalid for 'window_last_click'"),
        ("reporting_time_zone", "Mars", "'Mars' is invalid for 'reporting_time_zone'"),
        ("default_model", "best", "there is no model 'best'"),
        ("segment_schemas", "nowhere", "there is no schema 'nowhere'"),
        ("conversion_events", "order_completed", "'order_completed' is invalid for 'conversion_events'"),
    ],
)
def test_a_setting_that_does_not_suit_is_told_and_not_taken(command: Any, name: str, value: str, told: str) -> None:
    before = command("settings", "list", "--json")
    code, _, error = command("settings", "set", name, value)
    assert code == 2
    assert told in error
    assert command("settings", "list", "--json") == before


def test_a_schema_that_cannot_be_read_is_told(
    settings: Settings, connection: Connection[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    role = f"loader_{connection.info.dbname}"
    connection.execute(f"create role {role} login password 'secret'".encode())
    try:
        connection.execute("create schema shop; create table shop.pages (id text)")
        connection.execute(f"grant usage on schema selligent, selligent_ops to {role}".encode())
        connection.execute(f"grant all on all tables in schema selligent, selligent_ops to {role}".encode())
        url = make_conninfo(settings.database_url or "", user=role, password="secret")
        assert run(["settings", "set", "segment_schemas", "shop", "--database-url", url]) == 2
        assert "no table of schema 'shop' can be read; ask its owner to grant" in capsys.readouterr().err
    finally:
        connection.execute(f"drop owned by {role}; drop role {role}".encode())


def test_a_changed_setting_shows_in_the_views(connection: Connection[Any], command: Any, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    at = "2025-01-01T23:30:00Z"
    path.write_bytes(
        ndjson([event(event="Email Delivered", timestamp=at, originalTimestamp=at, properties={"campaign_id": "c"})])
    )
    assert command("load", str(path))[0] == 0
    query = "select delivery_day::text from campaign_days"
    assert connection.execute(query).fetchall() == [("2025-01-01",)]
    code, output, _ = command("settings", "set", "reporting_time_zone", "Europe/Brussels")
    assert (code, output) == (0, "reporting_time_zone is now 'Europe/Brussels', and the views are up to date\n")
    assert connection.execute(query).fetchall() == [("2025-01-02",)]


@pytest.mark.parametrize(("seconds", "rule"), [(2, "burst"), (3, "otherwise")])
def test_clicks_on_three_links_are_a_burst_while_none_is_later_than_its_gap_allows(
    settings: Settings, connection: Connection[Any], tmp_path: Path, seconds: int, rule: str
) -> None:
    start = datetime(2025, 3, 1, 10, tzinfo=UTC)
    clicks = [
        event(
            event="Email Link Clicked",
            messageId=f"m{number}",
            properties={"campaign_id": "c", "link_id": f"l{number}"},
            timestamp=(start + timedelta(seconds=number * seconds)).isoformat(),
            context={"userAgent": "Mozilla/5.0 (iPhone)"},
        )
        for number in range(3)
    ]
    load_events(settings, clicks, tmp_path)
    refresh(settings)
    assert connection.execute("select rule from email_events").fetchall() == [(rule,)] * 3


def test_a_machines_open_of_a_collection_made_later_is_in_the_views(
    connection: Connection[Any], command: Any, tmp_path: Path
) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(ndjson([event(event="Email Machine Opened", properties={"campaign_id": "c"})]))
    assert command("load", str(path))[0] == 0
    found = connection.execute("select event, campaign_id, actor, rule from email_events").fetchall()
    assert found == [("email_machine_opened", "c", "machine", "reported")]


def test_a_role_reads_the_schema_and_what_it_gets_later_and_nothing_else(
    settings: Settings, connection: Connection[Any], command: Any, tmp_path: Path
) -> None:
    role = f"analyst_{connection.info.dbname}"
    connection.execute(f"create role {role}".encode())
    try:
        assert command("grant", role)[0] == 0
        path = tmp_path / "events.jsonl"
        path.write_bytes(ndjson([event(event="Survey Answered", properties={"score": 5})]))
        assert command("load", str(path))[0] == 0
        connection.execute(f"set role {role}".encode())
        assert connection.execute("select score from survey_answered").fetchall() == [(5,)]
        assert connection.execute("select count(*) from campaigns").fetchall() == [(0,)]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("select * from selligent_ops.loads")
        connection.execute("reset role")
        connection.execute("grant select on campaigns to public")
        make_anew(connection)
        migrate(settings)
        query = "select has_table_privilege('public', 'campaigns', 'select')"
        assert connection.execute(query).fetchall() == [(True,)]
    finally:
        connection.execute(f"reset role; drop owned by {role}; drop role {role}".encode())


def make_anew(connection: Connection[Any]) -> None:
    """Create a view with other columns, as another version might have had, so that it cannot be replaced."""
    connection.execute("drop view load_health; create view load_health as select 1 as found")


def test_a_role_that_does_not_exist_is_told(command: Any) -> None:
    code, _, error = command("grant", "nobody_of_that_name")
    assert code == 1
    assert 'role "nobody_of_that_name" does not exist' in error


def test_a_view_of_others_on_ours_is_kept_or_named(settings: Settings, connection: Connection[Any]) -> None:
    connection.execute("create view public.report as select campaign_id, opened from selligent.campaigns")
    migrate(settings)
    assert connection.execute("select * from public.report").fetchall() == []
    definition = "select pg_get_viewdef('selligent.load_health'::regclass)"
    make_anew(connection)
    before = connection.execute(definition).fetchall()
    with pytest.raises(SchemaError, match=r"view (public\.)?report depends on view (selligent\.)?campaigns"):
        migrate(settings)
    assert connection.execute(definition).fetchall() == before
    connection.execute("drop view public.report")
    migrate(settings)
    assert connection.execute(definition).fetchall() != before


def test_the_dictionary_has_every_column_with_its_meaning(connection: Connection[Any], command: Any) -> None:
    query = "select count(*) from information_schema.columns where table_schema = 'selligent'"
    ((count,),) = connection.execute(query).fetchall()
    code, markdown, _ = command("dictionary")
    rows = re.findall(r"^\| (?!column|---).* \| .* \| (.*) \|$", markdown, re.MULTILINE)
    assert (code, len(rows)) == (0, count)
    assert all(rows)
    code, html, _ = command("dictionary", "--html")
    assert (code, html.count("<tr><td>")) == (0, count)


def test_a_load_brings_in_what_an_earlier_one_left(
    settings: Settings, connection: Connection[Any], command: Any, tmp_path: Path
) -> None:
    load_events(settings, [event()], tmp_path)  # like a load that was killed before its refresh
    count = "select count(*) from email_events"
    assert connection.execute(count).fetchall() == [(0,)]
    assert command("load", str(tmp_path / "events"))[0] == 0
    assert connection.execute(count).fetchall() == [(1,)]
    assert not is_stale(settings)


def test_views_that_cannot_be_brought_up_to_date_are_told_and_the_load_counts(
    connection: Connection[Any], command: Any, tmp_path: Path
) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(ndjson([event()]))
    connection.execute("update settings set value = 'no number' where name = 'machine_open_seconds'")
    code, output, error = command("load", str(path), "--json")
    assert (code, json.loads(output)["events_loaded"]) == (1, 1)
    assert "events are loaded, but the views are not up to date" in error


def test_a_refresh_says_what_is_new(command: Any) -> None:
    assert command("refresh")[1] == "the views are up to date, 0 events are new\n"
    assert json.loads(command("refresh", "--rebuild", "--json")[1]) == {"events": 0}


@pytest.mark.parametrize(
    "query",
    [
        "select * from email_events where campaign_id = 'c'",
        "select * from email_events where timestamp > '2025-01-01'",
        "select * from email_messages where campaign_id = 'c'",
        "select * from email_messages where delivered_at > '2025-01-01'",
        "select * from campaigns where campaign_id = 'c'",
        "select * from campaign_days where campaign_id = 'c'",
        "select * from campaign_funnel where campaign_id = 'c'",
        "select * from links where campaign_id = 'c'",
        "select * from conversions_attributed where converted_at > '2025-01-01'",
        "select * from conversions_attributed where campaign_id = 'c'",
        "select * from recipients where person = 'p'",
    ],
)
def test_a_filter_on_campaign_or_time_reads_no_table_as_a_whole(connection: Connection[Any], query: str) -> None:
    connection.execute("set enable_seqscan to off")  # with empty tables, the planner would not choose an index
    plan = "\n".join(line for (line,) in connection.execute(f"explain {query}".encode()))
    assert not re.search(r"Seq Scan on (stored_(?!names)|email_|tracks)", plan), plan


def test_two_refreshes_at_once_wait_for_each_other(settings: Settings, connection: Connection[Any]) -> None:
    second = Thread(target=refresh, args=(settings,), daemon=True)
    with connection.transaction():
        connection.execute("select pg_advisory_xact_lock(%s, hashtext('selligent_ops'))", (advisory_locks.REFRESH,))
        second.start()
        second.join(1)
        assert second.is_alive()
    second.join(30)
    assert not second.is_alive()


def test_the_samples_site_gives_every_view_something_to_say(
    settings: Settings, connection: Connection[Any], command: Any, tmp_path: Path
) -> None:
    script, events = tmp_path / "site.sql", tmp_path / "events.jsonl"
    for path, arguments in ((script, ["--site"]), (events, [])):
        assert run(["sample", "--events", "5000", "--until", "2025-12-31", *arguments, "--out", str(path)]) == 0
    assert script.read_bytes() == b"".join(site.script(5000, 1, "site"))
    psql = [str(find_wheel() / "pginstall/bin/psql"), "-q", "-f", str(script), settings.database_url or ""]
    for _ in range(2):  # the second run must leave the existing schema unchanged
        subprocess.run(psql, check=True, capture_output=True)
    assert command("init", "--segment-schema", "site")[0] == 0
    assert command("load", str(events))[0] == 0
    for view in (path.stem for path in Path("sql/views").glob("*.sql")):
        assert connection.execute(f"select count(*) > 0 from {view}".encode()).fetchall() == [(True,)], view
    query = "select sum(visited), sum(conversions), sum(revenue) > 0 from ({}) as c"
    funnel = "select campaign_id, people as visited from campaign_funnel where step = 'visited'"
    joined = f"select visited, conversions, revenue from campaigns join ({funnel}) as f using (campaign_id)"
    ((visited, conversions, has_revenue),) = connection.execute(query.format(joined).encode()).fetchall()
    assert (visited > 50, conversions > 5, has_revenue) == (True, True, True)
    assert connection.execute("select matched_by from identity_coverage where events > 0").fetchall() != [("user_id",)]
    failing = "select check_name from load_health where not is_ok and check_name <> 'discarded values'"
    assert connection.execute(failing).fetchall() == []
