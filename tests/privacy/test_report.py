"""Where personal data lies, and who may read it."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from loader.api import load as load_and_refresh
from loader.config import Settings
from loader.forwarding.cursor import Cursor, Progress
from loader.forwarding.secrets import decrypt, encrypt
from loader.migrate import migrate
from loader.monitoring.incidents import Incident, IncidentFile
from loader.pipeline.options import Options
from loader.privacy.report import OPS_COLUMNS, report_files, report_tables
from loader.schema.source import open_warehouse
from loader.views.personal_data import PERSONAL_COLUMNS
from tests.support.command_line import Run
from tests.support.forwarding import spooling, write
from tests.support.loading import event, ndjson, select

CONTEXT = {"ip": "198.51.100.7", "userAgent": "x", "traits": {"email": "anna@example.com"}}


@pytest.fixture
def loaded(settings: Settings, tmp_path: Path) -> Settings:
    mail = {"campaign_id": "c", "shoe_size": "38", "link_url": "x"}
    (tmp_path / "a").write_bytes(ndjson([event(context=CONTEXT, properties=mail)]) + b'{"x": 1]}\n')
    load_and_refresh(settings, [str(tmp_path / "a")], Options(max_rejects=1))
    return settings


@pytest.fixture
def role(loaded: Settings) -> Any:
    name = f"agency_{uuid4().hex[:8]}"
    with psycopg.connect(loaded.database_url or "", autocommit=True) as connection:
        connection.execute(f"create role {name} login".encode())
        yield name
        connection.execute(f"reset role; drop owned by {name}; drop role {name}".encode())


def test_a_role_without_personal_data_sees_figures_and_no_people(loaded: Settings, run: Run, role: str) -> None:
    assert run("grant", role).code == 0
    select(
        loaded, "update settings set value = 'campaign_name, shoe_size' where name = 'personal_properties' returning 1"
    )
    assert run("grant", "--no-personal-data", role).code == 0
    migrate(loaded)
    with psycopg.connect(loaded.database_url or "", autocommit=True) as connection:
        connection.execute(f"set role {role}; set search_path to selligent".encode())
        assert connection.execute("select count(*), max(delivered) from campaigns").fetchall() == [(1, 0)]
        assert connection.execute("select event, campaign_id, timestamp from email_opened").fetchone()
        assert connection.execute("select mailbox_domain, delivered from mailbox_domains").fetchall() is not None
        columns = connection.execute(
            "select attrelid::regclass::text, attname from pg_attribute"
            " where has_column_privilege(attrelid, attnum, 'select') and attnum > 0"
            " and attrelid in (select oid from pg_class where relnamespace = 'selligent'::regnamespace)"
        ).fetchall()
        seen = {name for _, name in columns}
        assert not seen & {*PERSONAL_COLUMNS, "campaign_name", "shoe_size"}
        assert {"delivered", "campaign_id", "uuid_ts"} <= seen
        for query in ("select * from email_events", "select email from email_messages", "select user_id from tracks"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(query.encode())


def test_privileges_on_columns_survive_a_view_that_is_made_again(loaded: Settings, run: Run, role: str) -> None:
    assert run("grant", "--no-personal-data", role).code == 0
    with psycopg.connect(loaded.database_url or "", autocommit=True) as connection:
        connection.execute(
            "set search_path to selligent; drop view load_health; create view load_health as select 1 as found"
        )
        migrate(loaded)
        query = f"select has_column_privilege('{role}', 'selligent.campaigns', 'delivered', 'select')"
        assert connection.execute(query.encode()).fetchall() == [(True,)]


def test_the_ops_schema_is_for_its_owner_only(loaded: Settings, run: Run, role: str) -> None:
    assert run("grant", role).code == 0
    query = """
        select relname from pg_class where relnamespace = 'selligent_ops'::regnamespace and relkind = any('{r,v,p}')
        and (has_table_privilege(%s, oid, 'select') or exists (
            select from aclexplode(relacl) where grantee <> relowner
        ))
    """
    assert select(loaded, query, role) == []
    assert select(loaded, "select has_schema_privilege(%s, 'selligent_ops', 'usage') as may", role) == [{"may": False}]


def test_the_report_has_every_column_with_its_rows_and_readers(loaded: Settings, run: Run, role: str) -> None:
    run("grant", role)
    with open_warehouse(loaded) as warehouse, warehouse.transaction():
        found = {(row["relation"], row["column"]): row for row in report_tables(warehouse)}
    tracks = found['"selligent"."tracks"', "context_traits_email"]
    assert (tracks["rows"], str(tracks["oldest"])[:10]) == (1, "2025-01-01")
    assert role in tracks["readers"].split(", ")
    rejects = found['"selligent_ops".rejected_events', "raw"]
    assert rejects["rows"] == 1 and role not in rejects["readers"]
    assert found['"selligent"."email_events"', "email"]["rows"] is None
    printed = json.loads(run("privacy", "report", "--json", SELLIGENT_HOME="/nonexistent").out)
    assert len(printed["columns"]) == len(found) and printed["files"] == []


def test_every_text_of_the_figures_is_in_the_report_or_about_mailings(loaded: Settings) -> None:
    query = """
        select relname, attname from pg_class join pg_attribute on attrelid = pg_class.oid
        where relnamespace = 'selligent_ops'::regnamespace and relkind = 'r' and starts_with(relname, 'stored_')
            and atttypid = 'text'::regtype and attnum > 0
    """
    impersonal = {
        "campaign_id",
        "campaign_name",
        "email_id",
        "link",
        "link_id",
        "link_name",
        "schema_name",
        "table_name",
    }
    impersonal |= {"kind", "id", "order_key", "currency", "unread", "mailbox_domain"}
    known = {(table, column) for table, (columns, _) in OPS_COLUMNS.items() for column in columns}
    known |= {("stored_links", "link_url")}
    for row in select(loaded, query):
        place = row["relname"], row["attname"]
        assert place in known or row["attname"] in impersonal or row["relname"] == "stored_models", place


def test_the_files_of_the_spool_are_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with spooling(tmp_path / "home" / "spool") as spool:
            write(spool, [event()])
            spool.rotate()
            spool.archive(spool.closed("selligent")[0])
            write(spool, [event()])
            found = report_files(tmp_path / "home" / "spool", "selligent")
    finally:
        os.umask(before)
    assert {Path(row["folder"]).name: row["files"] for row in found} == {".loaded": 1, "selligent": 1}
    assert shared(tmp_path / "home") == []


def test_the_files_of_the_home_are_private_whatever_the_umask(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "new" / "home"
    monkeypatch.setenv("SELLIGENT_HOME", str(home))
    before = os.umask(0)
    try:
        IncidentFile(settings).write(Incident(datetime.now(UTC), "broken", is_recorded=False))
        assert decrypt(encrypt("secret")) == "secret"
        with spooling(home / "spool") as spool:
            Cursor(spool.place("selligent"), "id", "name").write(Progress(), is_synced=False)
    finally:
        os.umask(before)
    assert len([path for path in home.rglob("*") if path.is_file()]) == 5
    assert shared(tmp_path / "new") == []


def shared(folder: Path) -> list[str]:
    """Return what others could read: files with rights for them, and folders that they can list."""
    paths = [folder, *folder.rglob("*")]
    return [str(path) for path in paths if path.stat().st_mode & (0o066 if path.is_dir() else 0o077)]
