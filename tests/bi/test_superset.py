"""What Superset imports: files of its format whose parts fit together, and a real import where it is installed."""

import io
import json
import os
import subprocess
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from psycopg.conninfo import conninfo_to_dict

from loader.bi.superset import Source, describe, read_source, write_superset
from loader.bi.superset_charts import ROWS
from loader.config import Settings
from loader.postgres.connection import Address
from loader.reports.dictionary import Relation, read_dictionary
from loader.schema.source import open_warehouse
from loader.views.definitions import grant
from loader.views.refresh import refresh
from tests.support.command_line import Run
from tests.support.loading import load_bytes, one

#: A folder with an environment in which Superset and psycopg2 are installed, and the script that runs in it.
SUPERSET = os.environ.get("SELLIGENT_TEST_SUPERSET")
SCRIPT = Path(__file__).parents[1] / "support" / "superset_import.py"

#: The fields that Superset 6.1 accepts, by folder (`ImportV1…Schema`); those before the bar are required.
FIELDS = {
    "databases": "database_name sqlalchemy_uri uuid version | password cache_timeout expose_in_sqllab "
    "allow_run_async allow_ctas allow_cvas allow_dml allow_file_upload allow_csv_upload impersonate_user extra",
    "datasets": "table_name uuid version database_uuid | main_dttm_col description default_endpoint offset "
    "cache_timeout schema catalog sql params template_params filter_select_enabled fetch_values_predicate extra "
    "columns metrics",
    "charts": "slice_name viz_type uuid version dataset_uuid | description params query_context cache_timeout",
    "dashboards": "dashboard_title uuid version | description css slug position metadata published",
    "metrics": "metric_name expression | verbose_name metric_type description d3format currency extra warning_text",
    "columns": "column_name | extra verbose_name is_dttm is_active type advanced_data_type groupby filterable "
    "expression description python_date_format",
}
Files = dict[str, dict[str, Any]]


@pytest.fixture
def relations(settings: Settings) -> Iterator[list[Relation]]:
    with open_warehouse(settings) as warehouse:
        yield read_dictionary(warehouse)


SOURCE = Source("selligent", "Selligent", "bi_tool", Address("127.0.0.1", 5432, "warehouse"), "EUR")


def folder(files: Files, name: str) -> list[dict[str, Any]]:
    return [content for path, content in files.items() if path.startswith(f"{name}/")]


def check_fields(kind: str, content: dict[str, Any]) -> None:
    required, others = (set(part.split()) for part in FIELDS[kind].split("|"))
    assert required <= content.keys() <= required | others, kind


def test_the_files_have_the_fields_that_superset_reads(relations: list[Relation]) -> None:
    with zipfile.ZipFile(io.BytesIO(write_superset(SOURCE, relations))) as archive:
        files = {path.removeprefix("selligent/"): yaml.safe_load(archive.read(path)) for path in archive.namelist()}
    assert files == describe(SOURCE, relations)
    assert files.pop("metadata.yaml") == {"version": "1.0.0", "type": "Dashboard"}
    for path, content in files.items():
        check_fields(path.partition("/")[0], content)
    for dataset in folder(files, "datasets"):
        for kind in ("metrics", "columns"):
            for part in dataset[kind]:
                check_fields(kind, part)
    uuids = [content["uuid"] for content in files.values()]
    assert len(set(uuids)) == len(uuids) > 15


def test_charts_have_their_datasets_metrics_and_columns(relations: list[Relation]) -> None:
    files = describe(SOURCE, relations)
    datasets = {dataset["uuid"]: dataset for dataset in folder(files, "datasets")}
    for chart in folder(files, "charts"):
        dataset = datasets[chart["dataset_uuid"]]
        metrics = {metric["metric_name"] for metric in dataset["metrics"]}
        columns = {column["column_name"]: column for column in dataset["columns"]}
        for query in json.loads(chart["query_context"])["queries"]:
            assert set(query["metrics"]) <= metrics
            named = {column if isinstance(column, str) else column["sqlExpression"] for column in query["columns"]}
            assert named <= columns.keys()
        time = dataset["main_dttm_col"]
        assert time is None or columns[time]["is_dttm"]
    days = next(dataset for dataset in datasets.values() if dataset["table_name"] == "campaign_days")
    assert days["main_dttm_col"] == "delivery_day"
    events = next(dataset for dataset in datasets.values() if dataset["table_name"] == "email_events")
    assert events["main_dttm_col"] == "timestamp"
    assert all(column["description"] or column["expression"] for column in events["columns"])


def test_the_dashboard_is_a_grid_of_all_charts(relations: list[Relation]) -> None:
    files = describe(SOURCE, relations)
    (dashboard,) = folder(files, "dashboards")
    position = dashboard["position"]
    assert position["ROOT_ID"]["children"] == ["GRID_ID"]
    placed = []
    for row in position["GRID_ID"]["children"]:
        charts = [position[child] for child in position[row]["children"]]
        assert position[row]["parents"] == ["ROOT_ID", "GRID_ID"]
        assert all(chart["parents"] == ["ROOT_ID", "GRID_ID", row] for chart in charts)
        assert sum(chart["meta"]["width"] for chart in charts) == 12
        placed += [chart["meta"]["uuid"] for chart in charts]
    assert placed == [chart["uuid"] for chart in folder(files, "charts")]
    assert len(placed) >= 9
    datasets = {dataset["uuid"] for dataset in folder(files, "datasets")}
    (campaign,) = (
        target for one in dashboard["metadata"]["native_filter_configuration"] for target in one["targets"] if target
    )
    assert campaign["datasetUuid"] in datasets


def test_rows_of_the_dashboard_are_full() -> None:
    assert [sum(chart.width for chart in row) for row in ROWS] == [12] * len(ROWS)
    titles = [chart.title for row in ROWS for chart in row]
    assert len(set(titles)) == len(titles) >= 12


def test_ids_stay_and_differ_between_sources(relations: list[Relation]) -> None:
    assert write_superset(SOURCE, relations) == write_superset(SOURCE, relations)
    own = {content.get("uuid") for content in describe(SOURCE, relations).values()}
    other_schema = describe(replace(SOURCE, schema="other"), relations)
    other_database = describe(replace(SOURCE, database_name="Test"), relations)
    database = other_schema["databases/selligent.yaml"]["uuid"]
    assert {content.get("uuid") for content in other_schema.values()} & own == {None, database}
    assert {content.get("uuid") for content in other_database.values()} & own == {None}


def test_metrics_and_computed_columns_are_sql_of_the_views(
    settings: Settings, relations: list[Relation], generated: bytes, tmp_path: Path
) -> None:
    load_bytes(settings, generated, tmp_path)
    refresh(settings)
    datasets = {dataset["table_name"]: dataset for dataset in folder(describe(SOURCE, relations), "datasets")}
    assert {"campaign_days", "campaigns", "email_events", "email_messages", "recipients"} <= datasets.keys()
    values = {}
    with psycopg.connect(settings.database_url or "", row_factory=psycopg.rows.dict_row) as connection:
        connection.execute("set search_path to selligent")
        for name, dataset in datasets.items():
            terms = [f'{metric["expression"]} as "{metric["metric_name"]}"' for metric in dataset["metrics"]]
            if terms:
                values[name] = connection.execute(f"select {', '.join(terms)} from {name}".encode()).fetchone() or {}
            for column in dataset["columns"]:
                if column["expression"]:
                    connection.execute(f"select {column['expression']} from {name} limit 1".encode())
    for name in ("sum_delivered", "sum_human_opened", "ratio_human_open_rate", "ratio_revenue_per_email"):
        assert values["campaigns"][name] == values["campaign_days"][name] is not None
    assert 0 < values["campaigns"]["ratio_human_open_rate"] < 1
    assert values["email_messages"]["ratio_human_open_rate"] == values["campaigns"]["ratio_human_open_rate"]
    assert "sum_recipients" not in values["campaigns"]


def test_the_file_has_no_password(run: Run, settings: Settings, tmp_path: Path) -> None:
    ended = run("bi", "superset", "--out", "a.zip", "--database-name", "Mails")
    assert (ended.code, ended.err) == (0, "")
    place = conninfo_to_dict(settings.database_url or "")
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        texts = [archive.read(name).decode() for name in archive.namelist()]
    assert not [text for text in texts if str(place["password"]) in text]
    (database,) = (yaml.safe_load(text) for text in texts if "sqlalchemy_uri" in text)
    assert database["database_name"] == "Mails"
    assert database["sqlalchemy_uri"] == (
        f"postgresql+psycopg2://bi_tool:XXXXXXXXXX@{place['host']}:{place['port']}/{place['dbname']}"
    )


@pytest.mark.slow
@pytest.mark.skipif(not SUPERSET, reason="SELLIGENT_TEST_SUPERSET names no environment with Superset")
def test_superset_imports_the_file_and_loads_all_charts(settings: Settings, tmp_path: Path, generated: bytes) -> None:
    load_bytes(settings, generated, tmp_path)
    refresh(settings)
    role = f"bi_{tmp_path.name}"[:40].lower()
    with psycopg.connect(settings.database_url or "", autocommit=True) as connection:
        connection.execute(f"create role {role} login password 'only-reads'".encode())
    try:
        with open_warehouse(settings) as warehouse:
            grant(warehouse, [role])
            source = read_source(warehouse, "Selligent", role)
            (tmp_path / "a.zip").write_bytes(write_superset(source, read_dictionary(warehouse)))
        found = import_into_superset(tmp_path, "only-reads")
    finally:
        with psycopg.connect(settings.database_url or "", autocommit=True) as connection:
            connection.execute(f"drop owned by {role}; drop role {role}".encode())
    assert found["import"][0] == 200
    ((title, shown),) = found["dashboards"].items()
    assert title == "E-mails of selligent"
    assert set(shown) == found["charts"].keys()
    failed = {title: rows for title, rows in found["charts"].items() if not isinstance(rows, list)}
    assert failed == {}
    ((delivered,),) = (row.values() for row in found["charts"]["Delivered"])
    assert delivered == one(settings, "select sum(delivered)::bigint as sum from campaigns")["sum"]
    ids = [part["meta"]["chartId"] for part in found["positions"][title].values() if "CHART" in str(part)[:40]]
    assert 0 not in ids


def import_into_superset(folder: Path, password: str) -> dict[str, Any]:
    """Import `a.zip` of a folder into a new Superset; return what it then has."""
    (folder / "superset_config.py").write_text(
        f'SECRET_KEY = "{"x" * 42}"\nSQLALCHEMY_DATABASE_URI = "sqlite:///{folder}/superset.db?check_same_thread=false"\n'
        "WTF_CSRF_ENABLED = TALISMAN_ENABLED = False\n"
    )
    variables = {"SUPERSET_CONFIG_PATH": f"{folder}/superset_config.py", "FLASK_APP": "superset", "HOME": str(folder)}
    bin_folder = f"{SUPERSET}/bin"
    last = b""
    for command in (
        [f"{bin_folder}/superset", "db", "upgrade"],
        [f"{bin_folder}/superset", "init"],
        [f"{bin_folder}/python", str(SCRIPT), f"{folder}/a.zip", password],
    ):
        done = subprocess.run(command, env={**os.environ, **variables}, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:].decode()
        last = done.stdout
    return dict(json.loads(last.splitlines()[-1]))
