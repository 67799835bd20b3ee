"""Write what Superset imports: a database, datasets of the views, charts and a dashboard, as a ZIP file of YAML files.

The format is that of Superset's own exports, version 1.0.0, which Superset 4.1 to 6 read.
"""

import io
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote
from uuid import NAMESPACE_URL, UUID, uuid5

import yaml

from loader.bi.superset_charts import ROWS, Chart, form_data, query_context
from loader.bi.superset_datasets import describe_columns, list_datasets, list_metrics, time_column
from loader.postgres.connection import Address, Warehouse
from loader.reports.dictionary import Relation

VERSION = "1.0.0"
#: Superset asks for the password where the address has this one.
PASSWORD_MASK = "XXXXXXXXXX"  # noqa: S105
#: Every entry has the same time, so that the same input gives the same bytes.
ENTRY_TIME = (2020, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Source:
    """What is exported: a schema of a database, the role by which Superset connects, and the currency of revenue."""

    schema: str
    database_name: str
    role: str
    address: Address
    currency: str | None

    def id(self, kind: str, name: str = "") -> str:
        """Return the id of a part: always the same, and another one for each schema of each database."""
        schema = "" if kind == "database" else self.schema
        return str(uuid5(uuid5(NAMESPACE_URL, "selligent-loader"), "/".join((self.database_name, schema, kind, name))))


def read_source(warehouse: Warehouse, database_name: str, role: str) -> Source:
    """Return what is exported of the source of a warehouse."""
    with warehouse.transaction():
        found = warehouse.fetch("select reporting_currency from refreshed")
    return Source(warehouse.schema, database_name, role, warehouse.address, found[0][0] if found else None)


def write_superset(source: Source, relations: Sequence[Relation]) -> bytes:
    """Return the ZIP file for the views of a schema; charts of views that it lacks are left out."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in describe(source, relations).items():
            entry = zipfile.ZipInfo(f"selligent/{name}", ENTRY_TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120))
    return stream.getvalue()


def describe(source: Source, relations: Sequence[Relation]) -> dict[str, dict[str, Any]]:
    """Return the content of each file by its name."""
    views = {view.name: view for view in list_datasets(relations)}
    rows = [[chart for chart in row if _is_complete(chart, views)] for row in ROWS]
    charts = [chart for row in rows for chart in row]
    return {
        "metadata.yaml": {"version": VERSION, "type": "Dashboard"},
        "databases/selligent.yaml": _database(source),
        **{f"datasets/selligent/{name}.yaml": _dataset(source, view) for name, view in views.items()},
        **{f"charts/{_file(chart)}.yaml": _chart(source, chart, views[chart.view]) for chart in charts},
        "dashboards/selligent.yaml": _dashboard(source, rows, views),
    }


def _is_complete(chart: Chart, views: Mapping[str, Relation]) -> bool:
    """Return whether the schema has all that a chart needs."""
    if chart.view not in views:
        return False
    view = views[chart.view]
    names = {metric.name for metric in list_metrics(view)} | {
        column["column_name"] for column in describe_columns(view)
    }
    return {*chart.metrics, *chart.columns, *([chart.axis] if chart.axis else [])} <= names


def _file(chart: Chart) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in chart.title)


def _database(source: Source) -> dict[str, Any]:
    host, port, database = source.address
    return {
        "database_name": source.database_name,
        "sqlalchemy_uri": f"postgresql+psycopg2://{quote(source.role)}:{PASSWORD_MASK}@{host}:{port}/{quote(database)}",
        "cache_timeout": None,
        "expose_in_sqllab": True,
        "allow_run_async": False,
        "allow_ctas": False,
        "allow_cvas": False,
        "allow_dml": False,
        "allow_file_upload": False,
        "extra": {"allows_virtual_table_explore": True},
        "uuid": source.id("database"),
        "version": VERSION,
    }


def _dataset(source: Source, view: Relation) -> dict[str, Any]:
    return {
        "table_name": view.name,
        "main_dttm_col": time_column(view),
        "description": view.meaning,
        "schema": source.schema,
        "sql": None,
        "params": None,
        "filter_select_enabled": True,
        "extra": None,
        "uuid": source.id("dataset", view.name),
        "metrics": [metric.describe(source.currency) for metric in list_metrics(view)],
        "columns": describe_columns(view),
        "version": VERSION,
        "database_uuid": source.id("database"),
    }


def _chart(source: Source, chart: Chart, view: Relation) -> dict[str, Any]:
    time = time_column(view)
    return {
        "slice_name": chart.title,
        "description": view.meaning,
        "viz_type": chart.kind,
        "params": form_data(chart, time),
        "query_context": query_context(chart, time),
        "cache_timeout": None,
        "uuid": source.id("chart", chart.title),
        "version": VERSION,
        "dataset_uuid": source.id("dataset", view.name),
    }


def _dashboard(source: Source, rows: Sequence[Sequence[Chart]], views: Mapping[str, Relation]) -> dict[str, Any]:
    title = f"E-mails of {source.schema}"
    return {
        "dashboard_title": title,
        "description": "Figures of e-mail campaigns; shares are sums divided by sums",
        "css": "",
        "slug": None,
        "uuid": source.id("dashboard"),
        "position": dict(_position(source, title, rows)),
        "metadata": {
            "color_scheme": "supersetColors",
            "refresh_frequency": 0,
            "cross_filters_enabled": True,
            "native_filter_configuration": list(_filters(source, views)),
        },
        "version": VERSION,
    }


def _position(source: Source, title: str, rows: Sequence[Sequence[Chart]]) -> Iterator[tuple[str, Any]]:
    """Yield the parts of the layout by their ids: a grid of rows of charts."""
    names = {f"ROW-{number}": row for number, row in enumerate(rows, 1) if row}
    yield "DASHBOARD_VERSION_KEY", "v2"
    yield "ROOT_ID", {"type": "ROOT", "id": "ROOT_ID", "children": ["GRID_ID"]}
    yield "HEADER_ID", {"type": "HEADER", "id": "HEADER_ID", "meta": {"text": title}}
    yield "GRID_ID", {"type": "GRID", "id": "GRID_ID", "children": list(names), "parents": ["ROOT_ID"]}
    for name, row in names.items():
        places = {f"CHART-{UUID(source.id('chart', chart.title)).hex[:12]}": chart for chart in row}
        parents = ["ROOT_ID", "GRID_ID"]
        background = {"background": "BACKGROUND_TRANSPARENT"}
        yield name, {"type": "ROW", "id": name, "children": list(places), "meta": background, "parents": parents}
        missing = 12 - sum(chart.width for chart in row)
        for place, chart in places.items():
            meta = {
                "chartId": 0,  # Superset enters the chart's number, which it finds by the uuid
                "uuid": source.id("chart", chart.title),
                "sliceName": chart.title,
                "width": chart.width + (missing if chart is row[-1] else 0),
                "height": chart.height,
            }
            yield place, {"type": "CHART", "id": place, "children": [], "meta": meta, "parents": [*parents, name]}


def _filters(source: Source, views: Mapping[str, Relation]) -> Iterator[dict[str, Any]]:
    """Yield the dashboard's filters: the period, and the campaign."""
    common = {
        "type": "NATIVE_FILTER",
        "cascadeParentIds": [],
        "scope": {"rootPath": ["ROOT_ID"], "excluded": []},
        "description": "",
    }
    yield {
        **common,
        "id": "NATIVE_FILTER-period",
        "name": "Period",
        "filterType": "filter_time",
        "targets": [{}],
        "defaultDataMask": {"extraFormData": {}, "filterState": {}},
        "controlValues": {"enableEmptyFilter": False},
    }
    yield {
        **common,
        "id": "NATIVE_FILTER-campaign",
        "name": "Campaign",
        "filterType": "filter_select",
        "targets": [
            {"datasetUuid": source.id("dataset", views["campaign_days"].name), "column": {"name": "campaign_name"}}
        ],
        "defaultDataMask": {"extraFormData": {}, "filterState": {}},
        "controlValues": {
            "multiSelect": True,
            "searchAllOptions": True,
            "enableEmptyFilter": False,
            "inverseSelection": False,
            "defaultToFirstItem": False,
        },
    }
