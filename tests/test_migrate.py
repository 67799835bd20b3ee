"""The schema: the migrations create what the metadata describes, in every way of running Alembic."""

import io
from contextlib import redirect_stdout
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from alembic import command
from psycopg import sql

from loader.config import Settings
from loader.errors import LoaderError, SchemaError
from loader.events.identifiers import RESERVED_WORDS, SHIPPED_RELATIONS
from loader.migrate import config, migrate
from loader.schema.event_tables import COLLECTIONS
from loader.schema.source import newest_revision
from loader.views.definitions import View
from loader.views.refresh import refresh
from tests.support.loading import event, load_events

RELATIONS = "select count(*) from pg_class where relnamespace = any(%s::regnamespace[]) and relkind = 'r'"


def rows(settings: Settings, statement: str, *parameters: object) -> list[tuple[object, ...]]:
    assert settings.database_url
    with psycopg.connect(settings.database_url) as connection:
        return connection.execute(statement, parameters).fetchall()


def test_the_migrations_make_what_the_metadata_says(settings: Settings) -> None:
    command.check(config(settings))


def test_migrating_twice_changes_nothing(settings: Settings) -> None:
    migrate(settings)
    assert rows(settings, "select version_num from selligent_ops.alembic_version") == [(newest_revision(),)]


def test_check_stays_clean_after_columns_and_collections_were_added(settings: Settings) -> None:
    assert settings.database_url
    with psycopg.connect(settings.database_url) as connection:
        connection.execute("alter table selligent.email_opened add column score bigint")
        connection.execute("create table selligent.order_completed (id text)")
    command.check(config(settings))


def test_check_sees_a_fixed_column_that_is_missing(settings: Settings) -> None:
    assert settings.database_url
    with psycopg.connect(settings.database_url) as connection:
        connection.execute("alter table selligent.email_opened drop column campaign_id cascade")
    with pytest.raises(Exception, match="campaign_id"):
        command.check(config(settings))


def test_downgrade_takes_everything_back(settings: Settings) -> None:
    command.downgrade(config(settings), "base")
    assert rows(settings, RELATIONS, ["selligent", "selligent_ops"]) == [(1,)]  # alembic_version
    migrate(settings)


def test_offline_sql_makes_the_same_tables(settings: Settings) -> None:
    other = Settings(settings.database_url, 'odd "name')
    script = io.StringIO()
    made = config(other)
    made.output_buffer = script
    with redirect_stdout(script):
        command.upgrade(made, "head", sql=True)
    assert settings.database_url
    with psycopg.connect(settings.database_url, autocommit=True) as connection:
        connection.execute(script.getvalue())
    command.check(config(other))


def test_every_table_and_column_has_a_comment(settings: Settings) -> None:
    missing = """
        select c.relname, a.attname
        from pg_class as c
        join pg_attribute as a on a.attrelid = c.oid and a.attnum >= 0 and not a.attisdropped
        where c.relnamespace = any(%s::regnamespace[]) and c.relkind = 'r' and c.relname <> 'alembic_version'
            and (col_description(c.oid, a.attnum) is null or obj_description(c.oid, 'pg_class') is null)
    """
    assert rows(settings, missing, ["selligent", "selligent_ops"]) == []


@pytest.mark.parametrize("table", ["tracks", *COLLECTIONS])
def test_an_event_is_stored_once_with_or_without_a_timestamp(settings: Settings, table: str) -> None:
    assert settings.database_url
    insert = sql.SQL("""
        insert into selligent.{} (id, event, event_text, original_timestamp, received_at, timestamp)
        values ('1', 'e', 'E', %s, now(), now())
    """).format(sql.Identifier(table))
    with psycopg.connect(settings.database_url, autocommit=True) as connection:
        for original_timestamp in (None, "2025-01-01T00:00:00Z"):
            connection.execute(insert, [original_timestamp])
            with pytest.raises(psycopg.errors.UniqueViolation):
                connection.execute(insert, [original_timestamp])


def test_every_word_the_server_reserves_is_known(settings: Settings) -> None:
    words = rows(settings, "select word from pg_get_keywords() where catcode in ('R', 'T')")
    assert {word for (word,) in words} <= RESERVED_WORDS


def test_a_migration_that_fails_leaves_nothing_behind(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Settings(settings.database_url, "other")
    broken = View("broken", "other", "other_ops", "select 1 / 0;")
    monkeypatch.setattr("loader.views.definitions.read_views", lambda *_: [broken])
    with pytest.raises(LoaderError, match="division by zero"):
        migrate(other)
    assert rows(settings, "select count(*) from pg_namespace where nspname like 'other%%'") == [(0,)]


def test_the_views_are_made_by_alembic_as_by_migrate(settings: Settings) -> None:
    other = Settings(settings.database_url, "other")
    command.upgrade(config(other), "head")
    views = """
        select viewname, regexp_replace(definition, '(selligent|other)(_ops)?[.]', '', 'g')
        from pg_views where schemaname in (%s, %s || '_ops') order by 1
    """
    assert rows(settings, views, "other", "other") == rows(settings, views, "selligent", "selligent") != []


GOLDEN = Path(__file__).parent / "data" / "views.txt"


def test_a_released_view_never_loses_renames_reorders_or_retypes_a_column(settings: Settings) -> None:
    """Users of a view rely on this list: lines may be added to it, but never changed."""
    query = """
        select relname || '.' || attname || ' ' || format_type(atttypid, atttypmod)
        from pg_class join pg_attribute on attrelid = pg_class.oid
        where relnamespace = 'selligent'::regnamespace and relkind = 'v' and attnum > 0
        order by relname, attnum
    """
    assert [line for (line,) in rows(settings, query)] == GOLDEN.read_text().splitlines()


@pytest.mark.parametrize("path", sorted(Path("sql/internal").glob("*.sql")), ids=lambda path: path.stem)
def test_a_view_behind_the_views_has_its_files_name(settings: Settings, path: Path) -> None:
    assert path.stem in SHIPPED_RELATIONS
    assert path.read_text().startswith("-- One row per ")
    assert rows(settings, "select obj_description(to_regclass('selligent_ops.' || %s))", path.stem) != [(None,)]


@pytest.mark.parametrize("path", sorted(Path("sql/views").glob("*.sql")), ids=lambda path: path.stem)
def test_a_view_has_its_files_name_and_every_column_a_comment(settings: Settings, path: Path) -> None:
    assert path.stem in SHIPPED_RELATIONS
    assert path.read_text().startswith("-- One row per ")
    comments = """
        select attname, col_description(attrelid, attnum) is not null from pg_attribute
        where attrelid = to_regclass('selligent.' || %s) and attnum >= 0
        union all
        select '', obj_description(to_regclass('selligent.' || %s)) is not null
    """
    found = rows(settings, comments, path.stem, path.stem)
    assert len(found) > 1
    assert all(commented for _, commented in found)


def test_all_tables_of_events_are_kept_alike(settings: Settings, tmp_path: Path) -> None:
    """So have tables that were created at run time, before or after the revision that adds the settings."""
    query = """
        select distinct reloptions from pg_class
        where relnamespace = 'selligent'::regnamespace and relkind = 'r' and relname <> 'settings'
    """
    (kept,) = rows(settings, query)
    assert "autovacuum_vacuum_insert_scale_factor=0.01" in str(kept)
    load_events(settings, [event(event="Order Completed")], tmp_path)
    assert rows(settings, query) == [kept]
    command.downgrade(config(settings), "0005")
    assert rows(settings, query) == [(None,)]
    command.upgrade(config(settings), "head")
    assert rows(settings, query) == [kept]


def test_an_older_warehouse_gets_its_figures_and_keeps_grants_and_views_of_others(
    settings: Settings, tmp_path: Path
) -> None:
    load_events(settings, [event(event="Email Delivered", properties={"campaign_id": "c"})], tmp_path)
    command.downgrade(config(settings), "0009")
    assert settings.database_url
    with psycopg.connect(settings.database_url) as connection:
        connection.execute("grant select on selligent.campaigns to public")
        connection.execute("create view public.report as select campaign_id, delivered from selligent.campaigns")
    migrate(settings)
    assert rows(settings, "select * from public.report") == [("c", 1)]
    assert rows(settings, "select has_table_privilege('public', 'selligent.campaigns', 'select')") == [(True,)]
    assert rows(settings, "select events, is_taken from selligent_ops.chunks") == [(1, True)]
    command.check(config(settings))


def test_a_warehouse_without_positions_and_days_gets_them(settings: Settings, tmp_path: Path) -> None:
    load_events(settings, [event(event="Email Delivered", properties={"campaign_id": "c"})], tmp_path)
    refresh(settings)
    load_events(settings, [event(messageId="later")], tmp_path, "later")
    command.downgrade(config(settings), "0019")
    migrate(settings)
    assert rows(settings, "select position from selligent.loaded_chunks order by 1") == [(1,), (2,)]
    assert rows(settings, "select delivery_hour, delivered from selligent.send_times") == [(0, 1)]
    assert rows(settings, "select count(*) from selligent.load_health where not is_ok") == [(0,)]
    command.check(config(settings))


def test_views_on_ours_survive_that_an_internal_view_gets_other_columns(settings: Settings) -> None:
    command.downgrade(config(settings), "0015")
    assert settings.database_url
    with psycopg.connect(settings.database_url) as connection:
        connection.execute("create view selligent_ops.recorded_events as select null::text as id, null::text as email")
        connection.execute(
            "create or replace view selligent.load_health as select id as check_name, id as found, id as expected, "
            "true as is_ok from selligent_ops.recorded_events"
        )
        connection.execute("create view public.health as select check_name from selligent.load_health")
    migrate(settings)
    assert len(rows(settings, "select * from public.health")) > 5
    assert rows(settings, "select context_traits_email from selligent_ops.recorded_events") == []


@pytest.fixture
def older(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A warehouse as the version before left it: the first values decided the types of documented properties."""
    values = [
        {"campaign_id": 4, "emailId": 0.5, "link_id": "2025-01-01T00:00:00.5Z", "list_id": True, "score": 1},
        {"campaign_id": "summer", "emailId": "e", "link_id": "l", "list_id": 2, "score": "high", "Campaign ID": 9},
        {"campaign_id": None, "Campaign ID": "winter"},
    ]
    opens = [
        event(event=name, messageId=f"{name[0]}{n}", properties=value)
        for n, value in enumerate(values)
        for name in ("Email Machine Opened", "Other")
    ]
    with monkeypatch.context() as patch:
        patch.setattr("loader.schema.catalog.TEXT_PROPERTIES", frozenset())
        load_events(settings, opens, tmp_path, "before")
    refresh(settings)
    command.downgrade(config(settings), "0013")
    return settings


OPENS = "select id, campaign_id, email_id, link_id, list_id, score from selligent.{} order by id"


def test_documented_properties_become_text_where_an_older_version_gave_them_another_type(
    older: Settings, tmp_path: Path
) -> None:
    assert rows(older, OPENS.format("other"))[0][1:] == (4, 0.5, datetime(2025, 1, 1, 0, 0, 0, 500000, UTC), True, 1)
    assert older.database_url
    with psycopg.connect(older.database_url) as connection:
        connection.execute("grant select on selligent_ops.machine_opens to public")
        connection.execute("create view report as select score, id from selligent.email_machine_opened")
    migrate(older)
    for table in ("other", "email_machine_opened"):
        assert rows(older, OPENS.format(table))[0][1:] == ("4", "0.5", "2025-01-01T00:00:00.500Z", "true", 1)
    waiting = "select count(*), reason from selligent_ops.discarded_values group by 2 order by 2"
    assert rows(older, waiting) == [(2, "collision"), (2, "misfit"), (10, "no_column")]
    load_events(older, [], tmp_path, "nothing")
    for table in ("other", "email_machine_opened"):
        assert rows(older, OPENS.format(table))[1:] == [
            (f"{table[0].upper()}1", "summer", "e", "l", "2", None),
            (f"{table[0].upper()}2", "winter", None, None, None, None),
        ]
    assert rows(older, waiting) == [(2, "collision"), (2, "misfit")]  # two names for one column, and the score
    refresh(older)
    found = "select campaign_id, email_id from selligent.email_events order by 1"
    assert rows(older, found) == [("4", "0.5"), ("summer", "e"), ("winter", "")]
    granted = "select has_table_privilege('public', 'selligent_ops.machine_opens', 'select')"
    assert rows(older, granted) == [(True,)]
    command.check(config(older))


def test_a_view_of_others_on_a_column_that_becomes_text_is_named_and_nothing_is_changed(older: Settings) -> None:
    assert older.database_url
    with psycopg.connect(older.database_url) as connection:
        connection.execute("create view machine_opens as select campaign_id from selligent.email_machine_opened")
        connection.execute("create materialized view public.copy as select email_id from selligent.other")
    with pytest.raises(SchemaError, match=r"not the loader's: copy, machine_opens; drop these"):
        migrate(older)
    assert rows(older, OPENS.format("other"))[0][1] == 4
    with psycopg.connect(older.database_url) as connection:
        connection.execute("drop view machine_opens; drop materialized view copy")
    migrate(older)
    assert rows(older, OPENS.format("other"))[0][1] == "4"


def test_write_keys_of_an_older_warehouse_are_those_of_e_mail_events(settings: Settings) -> None:
    command.downgrade(config(settings), "0018")
    key = "insert into selligent_ops.write_keys (label, hash) values ('old', sha256('a')) returning label"
    assert rows(settings, key) == [("old",)]
    migrate(settings)
    assert rows(settings, "select label, is_site from selligent_ops.write_keys") == [("old", False)]
    assert rows(settings, "select * from selligent_ops.segment_members") == []
    command.check(config(settings))
