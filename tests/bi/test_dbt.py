"""The data dictionary as a dbt source."""

import os
import re
import subprocess
from pathlib import Path

import psycopg
import pytest
import yaml
from psycopg.conninfo import conninfo_to_dict

from loader.bi.dbt import KEYS, as_dbt
from loader.config import Settings
from loader.reports.dictionary import Column, Relation
from tests.support.command_line import Run
from tests.support.loading import load_bytes, select

#: A folder with an environment in which dbt-core 1.10 or later and dbt-postgres are installed.
DBT = os.environ.get("SELLIGENT_TEST_DBT")

#: An event of the future, which must not make its table look fresh.
FUTURE = """
    insert into selligent.email_opened (id, event, event_text, received_at, uuid_ts, timestamp)
    values ('x', 'email_opened', 'Email Opened', now(), now(), now() + interval '1 year')
"""


def test_every_table_view_and_column_is_described(settings: Settings, run: Run) -> None:
    (source,) = yaml.safe_load(run("dictionary", "--format", "dbt").out)["sources"]
    tables = {table["name"]: table for table in source["tables"]}
    rows = select(
        settings,
        "select table_name, column_name from information_schema.columns where table_schema = 'selligent' "
        "and table_name <> 'alembic_version'",
    )
    columns = [(name, column) for name, table in tables.items() for column in table["columns"]]
    described = {(name, column["name"]) for name, column in columns}
    assert {(row["table_name"], row["column_name"]) for row in rows} <= described
    assert all(column["description"] for _, column in columns)
    fresh = {name: table["config"]["loaded_at_field"] for name, table in tables.items() if "config" in table}
    assert fresh == dict.fromkeys(("tracks", "email_delivered", "email_opened", "email_link_clicked"), "timestamp")
    tested = {(name, column["name"]) for name, column in columns if "data_tests" in column}
    assert {(name, key) for name, key in KEYS.items() if (name, key) in described} <= tested
    assert ("campaign_days", "campaign_id") in tested


def test_no_description_is_a_template() -> None:
    column = Column("x", "text", "{{ env_var('SECRET') }} {% raw %} {# #} { fine }")
    text = as_dbt("selligent", [Relation("t", "view", "", [column])])
    assert re.search(r"\{[{%#]", text) is None
    assert "{ fine }" in text


@pytest.mark.slow
@pytest.mark.skipif(not DBT, reason="SELLIGENT_TEST_DBT names no environment with dbt")
def test_dbt_reads_the_source_and_its_tests_pass(
    settings: Settings, run: Run, tmp_path: Path, generated: bytes
) -> None:
    load_bytes(settings, generated, tmp_path)
    place = conninfo_to_dict(settings.database_url or "")
    target = {
        "type": "postgres",
        "threads": 2,
        "schema": "dbt",
        **{name: place[name] for name in ("host", "user", "password", "dbname")},
        "port": int(str(place["port"])),
    }
    project = {"name": "trial", "version": "1.0", "profile": "trial", "flags": {"send_anonymous_usage_stats": False}}
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "sources.yml").write_text(run("dictionary", "--format", "dbt").out)
    (tmp_path / "dbt_project.yml").write_text(yaml.safe_dump(project))
    (tmp_path / "profiles.yml").write_text(yaml.safe_dump({"trial": {"target": "dev", "outputs": {"dev": target}}}))

    def dbt(*arguments: str) -> tuple[int, str]:
        command = [f"{DBT}/bin/dbt", "--no-use-colors", *arguments, "--profiles-dir", "."]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout

    code, printed = dbt("parse", "--show-all-deprecations")
    assert (code, "eprecat" in printed) == (0, False), printed
    code, printed = dbt("test")
    assert code == 0, printed
    passed = re.search(r"PASS=(\d+) WARN=0 ERROR=0", printed)
    assert passed
    assert int(passed[1]) > 30
    _, printed = dbt("source", "freshness")
    assert len(re.findall(r"(PASS|WARN|ERROR STALE) freshness of", printed)) == 4, printed
    with psycopg.connect(settings.database_url or "") as connection:
        connection.execute("delete from selligent.email_opened")
        connection.execute(FUTURE)
    _, printed = dbt("source", "freshness", "--select", "source:selligent.email_opened")
    assert re.search(r"ERROR STALE freshness of selligent.email_opened", printed), printed
