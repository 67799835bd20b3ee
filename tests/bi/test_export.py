"""Files for those who only want a file: the rows of a view, whole or not at all."""

import csv
import io
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import openpyxl
import psycopg
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from loader.bi.export import export_relation
from loader.config import Settings
from loader.errors import UsageError
from loader.schema.source import open_warehouse
from loader.views.refresh import refresh
from tests.support.command_line import Run
from tests.support.loading import load_bytes, select

#: A view with every type that views have, and what is awkward in files: formulas, quotes, line breaks, empty texts.
STRANGE = """
    create view selligent.strange (name, number, amount, share, is_on, day, at, took, extra) as values
        ('=1+1', 9223372036854775807, 12345.67, 0.25::float8, true, date '2025-02-28',
            timestamptz '2025-03-01 12:30:00.5+02', interval '1 day 02:30:00', '{"a": [1]}'::jsonb),
        ('@SUM(A1)', -5, -0.1, null, false, date '1815-06-18', null, interval '-1 s', null),
        (E'two\\nlines, "quoted"', null, null, null, null, null, null, null, null),
        ('', 0, 0, 0, null, null, null, null, '"=x"'::jsonb),
        (null, 1, 1, 1, null, null, null, null, null),
        ('http://example.com', 1, 1, 1, null, null, null, null, null),
        ('12', 1, 1, 1, null, null, null, null, null)
"""
NAMES = ["=1+1", "@SUM(A1)", 'two\nlines, "quoted"', "", None, "http://example.com", "12"]


@pytest.fixture
def strange(settings: Settings) -> Settings:
    assert settings.database_url
    with psycopg.connect(settings.database_url) as connection:
        connection.execute(STRANGE)
    return settings


def export(settings: Settings, view: str, out: Path, **options: Any) -> int:
    with open_warehouse(settings) as warehouse:
        return export_relation(warehouse, view, str(out), **options)


def cells(path: Path) -> list[tuple[Any, ...]]:
    return [tuple(cell.value for cell in row) for row in openpyxl.load_workbook(path).active.iter_rows()]


def test_parquet_has_the_types_and_values(strange: Settings, tmp_path: Path) -> None:
    assert export(strange, "strange", tmp_path / "a.parquet") == 7
    table = parquet.read_table(tmp_path / "a.parquet")
    assert table.column("name").to_pylist() == NAMES
    assert table.slice(0, 2).to_pylist()[0] == {
        "name": "=1+1",
        "number": 2**63 - 1,
        "amount": 12345.67,
        "share": 0.25,
        "is_on": True,
        "day": date(2025, 2, 28),
        "at": datetime(2025, 3, 1, 10, 30, 0, 500_000, UTC),
        "took": 95_400.0,
        "extra": '{"a": [1]}',
    }
    assert table.schema.field("at").type == pa.timestamp("us", "UTC")
    assert table.column("day").to_pylist()[1] == date(1815, 6, 18)


def test_no_text_of_a_workbook_is_a_formula_or_a_link(strange: Settings, tmp_path: Path) -> None:
    assert export(strange, "strange", tmp_path / "a.xlsx") == 7
    sheet = openpyxl.load_workbook(tmp_path / "a.xlsx").active
    assert [(cell.value, cell.data_type, cell.hyperlink) for cell in sheet["A"][1:3]] == [
        ("=1+1", "s", None),
        ("@SUM(A1)", "s", None),
    ]
    assert [cell.value or "" for cell in sheet["A"][3:]] == ['two\nlines, "quoted"', "", "", "http://example.com", "12"]
    _, number, amount, share, is_on, day, at, took, extra = (cell.value for cell in sheet[2])
    assert (amount, share, is_on, extra) == (12345.67, 0.25, True, '{"a": [1]}')
    assert (number, day, at) == (2**63, datetime(2025, 2, 28), datetime(2025, 3, 1, 10, 30, 0, 500_000))
    assert (took, sheet["H2"].number_format) == (timedelta(days=1, hours=2, minutes=30), "[h]:mm:ss")
    assert (sheet["F3"].value, sheet.freeze_panes) == ("1815-06-18", "A2")


@pytest.mark.parametrize(("is_exact", "names"), [(True, ["=1+1", "@SUM(A1)"]), (False, ["'=1+1", "'@SUM(A1)"])])
def test_csv_disarms_formulas_unless_it_is_exact(
    strange: Settings, tmp_path: Path, is_exact: bool, names: list[str]
) -> None:
    assert export(strange, "strange", tmp_path / "a.csv", is_exact=is_exact) == 7
    text = (tmp_path / "a.csv").read_text("utf-8")
    rows = list(csv.reader(io.StringIO(text)))
    assert [row[0] for row in rows[1:3]] == names
    assert [row[0] or "" for row in rows[3:]] == [name or "" for name in NAMES[2:]]
    assert (rows[2][1], rows[2][2]) == ("-5", "-0.1")
    assert rows[1][5:8] == ["2025-02-28", "2025-03-01 10:30:00.5+00", "1 day 02:30:00"]
    assert '\n"",0,' in text
    assert "\n,1,1" in text


def test_all_formats_have_the_rows_of_the_view(settings: Settings, run: Run, tmp_path: Path, generated: bytes) -> None:
    load_bytes(settings, generated, tmp_path)
    refresh(settings)
    rows = select(settings, "select campaign_id, delivered, revenue::float8, open_rate::float8 from campaigns")
    expected = sorted(tuple(row.values()) for row in rows)
    assert len(expected) > 10
    for name in ("a.csv", "a.parquet", "a.xlsx"):
        ended = run("export", "campaigns", "--out", name)
        assert (ended.code, ended.out, ended.err) == (0, f"{name} has {len(rows)} rows\n", "")
    columns = ("campaign_id", "delivered", "revenue", "open_rate")
    table = parquet.read_table(tmp_path / "a.parquet", columns=list(columns))
    assert sorted(tuple(row.values()) for row in table.to_pylist()) == expected
    heading, *lines = cells(tmp_path / "a.xlsx")
    places = [heading.index(name) for name in columns]
    assert sorted((row[places[0]] or "", *(row[place] for place in places[1:])) for row in lines) == expected
    printed = run("export", "campaigns", "--out", "-")
    assert printed.raw == (tmp_path / "a.csv").read_bytes()
    ids = [row["campaign_id"] for row in csv.DictReader(io.StringIO(printed.out))]
    assert ids == [row["campaign_id"] for row in rows]
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.endswith(".part")) == []


def test_an_empty_view_becomes_a_file_with_a_heading(settings: Settings, tmp_path: Path) -> None:
    for name in ("a.csv", "a.parquet", "a.xlsx"):
        assert export(settings, "campaign_days", tmp_path / name) == 0
    assert (tmp_path / "a.csv").read_text().startswith("campaign_id,campaign_name,delivery_day,")
    assert parquet.read_table(tmp_path / "a.parquet").column_names[:2] == ["campaign_id", "campaign_name"]
    assert cells(tmp_path / "a.xlsx")[0][:2] == ("campaign_id", "campaign_name")


def test_a_workbook_has_no_more_rows_than_excel_reads(
    strange: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.xlsx").write_text("of yesterday")
    monkeypatch.setattr("loader.bi.export.MAX_ROWS", 7)
    assert export(strange, "strange", tmp_path / "b.xlsx") == 7
    monkeypatch.setattr("loader.bi.export.MAX_ROWS", 6)
    with pytest.raises(UsageError, match=r"at most 6 rows .* write \.csv or \.parquet"):
        export(strange, "strange", tmp_path / "a.xlsx")
    assert (tmp_path / "a.xlsx").read_text() == "of yesterday"
    assert {path.name for path in tmp_path.iterdir()} == {"a.xlsx", "b.xlsx"}


@pytest.mark.parametrize(
    ("view", "out", "message"),
    [
        ("nonsense", "a.csv", "there is no view or table 'nonsense'"),
        ("campaigns", "a.pdf", "'a.pdf' has no known format"),
    ],
)
def test_what_cannot_be_exported_is_an_error(run: Run, tmp_path: Path, view: str, out: str, message: str) -> None:
    ended = run("export", view, "--out", out)
    assert (ended.code, list(tmp_path.iterdir())) == (2, [])
    assert message in ended.err
