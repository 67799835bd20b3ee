"""CSV files: delimiters, encodings, malformed rows, and tables exported by psql."""

import io
import json
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from loader.config import Settings
from loader.inputs.csv import CsvDialect, read_csv
from loader.sample import ndjson as sample
from loader.transform import transform
from tests.support.loading import content, load_bytes, load_events, one, select
from tests.support.loading import event as base

HEAD = "id,user_id,event,original_timestamp,received_at,campaign_name\n"
WHEN = "2025-01-01T00:00:00Z,2025-01-01T00:00:01Z"


def row(number: int, campaign: str = "Spring") -> str:
    return f"m{number},u{number},Email Opened,{WHEN},{campaign}\n"


def names(settings: Settings) -> list[tuple[str, str | None]]:
    found = select(settings, "select id, campaign_name from email_opened order by id")
    return [(row["id"], row["campaign_name"]) for row in found]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_delimiter_and_encoding_are_found_out(
    settings: Settings, tmp_path: Path, delimiter: str, encoding: str, end: str
) -> None:
    text = (HEAD + row(1, "Été €5")).replace(",", delimiter).replace("\n", end)
    result = load_bytes(settings, text.encode(encoding), tmp_path, "export.csv")
    assert (result.status, names(settings)) == ("ok", [("m1", "Été €5")])


def test_delimiter_and_encoding_can_be_given(settings: Settings, tmp_path: Path) -> None:
    text = (HEAD + row(1, "Ж")).replace(",", "^")
    load_bytes(settings, text.encode("koi8-r"), tmp_path, "export.csv", table=CsvDialect("^", "koi8-r"))
    assert names(settings) == [("m1", "Ж")]


def test_a_csv_is_known_by_its_heading_too(settings: Settings, tmp_path: Path) -> None:
    load_bytes(settings, (HEAD + row(1)).encode(), tmp_path, "export.txt")
    assert names(settings) == [("m1", "Spring")]


def test_quotes_line_ends_and_empty_cells(settings: Settings, tmp_path: Path) -> None:
    text = HEAD + row(1, '"a\nb, ""c"""') + row(2, "") + row(3, '""') + "\n" + row(4, '5" screen') + row(5, "007")
    load_bytes(settings, text.encode(), tmp_path, "export.csv")
    assert names(settings) == [("m1", 'a\nb, "c"'), ("m2", None), ("m3", None), ("m4", '5" screen'), ("m5", "007")]


def test_a_malformed_row_is_a_reject_with_its_bytes_and_line(settings: Settings, tmp_path: Path) -> None:
    bad = 'm9,u9,"open,é\n'.encode("cp1252")
    text = (HEAD + row(1, '"a\nb"')).encode("cp1252") + b"only,two\n" + bad + row(2, "é").encode("cp1252")
    result = load_bytes(settings, text, tmp_path, "export.csv")
    rejects = select(settings, "select line, raw, reason from rejected_events order by line")
    assert [(found["line"], found["raw"]) for found in rejects] == [(4, b"only,two"), (5, bad.rstrip())]
    assert {found["reason"] for found in rejects} == {"malformed_row"}
    assert (result.counts["events_read"], names(settings)) == (4, [("m1", "a\nb"), ("m2", "é")])


def test_an_event_that_is_rejected_is_kept_as_json_with_its_line(settings: Settings, tmp_path: Path) -> None:
    text = HEAD + row(1, '"a\nb"') + row(2).replace("u2", "")
    load_bytes(settings, text.encode(), tmp_path, "export.csv")
    found = one(settings, "select line, raw, reason from rejected_events")
    assert (found["line"], found["reason"], json.loads(found["raw"])["messageId"]) == (4, "no_identity", "m2")


@pytest.mark.parametrize("text", ["", HEAD, "\ufeff" + HEAD])
def test_no_rows_are_no_fault(settings: Settings, tmp_path: Path, text: str) -> None:
    assert load_bytes(settings, text.encode(), tmp_path, "export.csv").status == "empty"


def test_columns_that_are_not_those_of_events_are_named(settings: Settings, tmp_path: Path) -> None:
    result = load_bytes(settings, b"name,age\nx,1\n", tmp_path, "people.csv")
    assert "user_id (userId) or anonymous_id" in result.errors[0]
    assert "name, age" in result.errors[0]


def test_a_row_without_a_line_end_that_was_written_just_now_is_left(settings: Settings, tmp_path: Path) -> None:
    result = load_bytes(settings, (HEAD + row(1) + row(2).rstrip()).encode(), tmp_path, "export.csv")
    assert (len(result.warnings), names(settings)) == (1, [("m1", "Spring")])


def test_chunks_do_not_matter_nor_where_reading_goes_on(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from loader.inputs.file import local_file
    from loader.inputs.formats import read_contents

    path = tmp_path / "export.csv"
    path.write_text(HEAD + "".join(row(n, f'"é\n{n}"' if n % 3 else "x") for n in range(50)) + "bad\n")

    def read(position: int, line: int, size: int) -> list[tuple[Any, ...]]:
        chunks = [c for c, _ in read_contents(local_file(path), position, line, size, CsvDialect())]
        texts = [(c.line(n), text) for c in chunks for n, text in enumerate(c.texts.to_pylist())]
        return texts + [(reject.line, reject.raw) for c in chunks for reject in c.rejects]

    whole = read(0, 1, 1 << 20)
    assert len(whole) == 51
    for chunk, _ in read_contents(local_file(path), 0, 1, 300, CsvDialect()):
        assert read(chunk.end, chunk.next_line, 300) == [item for item in whole if item[0] >= chunk.next_line]


def exported(settings: Settings) -> bytes:
    """Return a table as exported by psql."""
    assert settings.database_url
    with psycopg.connect(settings.database_url) as connection:
        connection.execute("set timezone to 'UTC'")
        query = "copy (select * from selligent.email_link_clicked) to stdout (format csv, header)"
        with connection.cursor().copy(query) as copy:
            return b"".join(bytes(piece) for piece in copy)


def test_a_table_written_by_psql_adds_nothing_and_gives_the_same_again(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "events").write_bytes(b"".join(sample.lines(3000, seed=1)))
    from tests.support.loading import load_file

    load_file(settings, tmp_path / "events")
    load_events(settings, [base(event="Email Link Clicked", originalTimestamp=None, timestamp=None)], tmp_path, "more")
    table, before = exported(settings), content(settings)["email_link_clicked"]
    result = load_bytes(settings, table, tmp_path, "export.csv")
    assert result.counts["events_loaded"] == 0
    assert result.counts["events_duplicate"] == len(before)
    assert settings.database_url
    with psycopg.connect(settings.database_url) as connection:
        connection.execute("delete from selligent.tracks; delete from selligent.email_link_clicked")
    load_bytes(settings, table, tmp_path, "again.csv")
    assert content(settings)["email_link_clicked"] == before


EXCEL = Path(__file__).parents[1] / "data" / "excel_sep.csv"
SHORT = "userId;event;timestamp;messageId;campaign_name"


def short(number: int, campaign: str = "Spring", rest: str = "") -> str:
    return f"u{number};Email Opened;2025-01-01T00:00:00Z;m{number};{campaign}{rest}"


def test_a_first_line_names_the_delimiter(settings: Settings, tmp_path: Path) -> None:
    result = load_bytes(settings, EXCEL.read_bytes(), tmp_path, "export.txt")
    assert (result.status, result.counts["events_loaded"]) == ("ok", 1)
    assert one(settings, "select id, campaign_id from email_opened") == {"id": "m1", "campaign_id": "00123"}


@pytest.mark.parametrize("first", ["sep=^\n", "\ufeffSEP=^\r\n", '"sep=^"\n', "sep=^;;;\n"])
def test_the_named_delimiter_may_be_any_in_all_spellings(settings: Settings, tmp_path: Path, first: str) -> None:
    text = first + "\n".join([SHORT, short(1, "a;b")]).replace(";", "^").replace("a^b", "a;b") + "\nx\n"
    load_bytes(settings, text.encode(), tmp_path, "export.csv")
    assert names(settings) == [("m1", "a;b")]
    assert one(settings, "select line, raw from rejected_events") == {"line": 4, "raw": b"x"}


def test_empty_columns_and_blank_rows_of_a_spreadsheet_are_nothing(settings: Settings, tmp_path: Path) -> None:
    rows = [SHORT + ";;", short(1, "a;;"), short(2, "b"), short(3, '"c;";;;;'), ";;;;;;", "", "  ", short(4, ";;")]
    result = load_bytes(settings, "\r\n".join([*rows, *[";;;;;;", ""] * 3, ""]).encode(), tmp_path, "export.csv")
    assert (result.counts["events_read"], result.counts["events_rejected"]) == (4, 0)
    assert names(settings) == [("m1", "a"), ("m2", "b"), ("m3", "c;"), ("m4", None)]


def test_a_value_without_a_heading_is_not_lost(settings: Settings, tmp_path: Path) -> None:
    load_bytes(settings, "\n".join([SHORT + ";", short(1), short(2, "b;c"), short(3), ""]).encode(), tmp_path, "x.csv")
    assert names(settings) == [("m1", "Spring"), ("m3", "Spring")]
    found = one(settings, "select raw, reason from rejected_events")
    assert found == {"raw": short(2, "b;c").encode(), "reason": "malformed_row"}


@pytest.mark.parametrize(
    ("heading", "message"),
    [
        (SHORT + ";Text;Text", "'Text' in column 6 (F) and 'Text' in column 7 (G)"),
        ('userId;event;timestamp;"user_id"', "'userId' in column 1 (A) and 'user_id' in column 4 (D)"),
    ],
)
def test_a_repeated_heading_is_named_with_its_columns(
    settings: Settings, tmp_path: Path, heading: str, message: str
) -> None:
    result = load_bytes(settings, f"{heading}\n".encode(), tmp_path, "export.csv")
    assert message in result.errors[0]
    assert result.status == "failed"


def test_quoted_headings_may_have_delimiters_and_line_ends(settings: Settings, tmp_path: Path) -> None:
    text = '"userId";"event";"timestamp";"messageId";"campaign_name";"a;""b""\nc"\n' + short(1, "x", ";1") + "\n"
    load_bytes(settings, text.encode(), tmp_path, "export.csv")
    assert select(settings, "select campaign_name, a_b_c from email_opened") == [{"campaign_name": "x", "a_b_c": "1"}]


TYPED = base(messageId="typed", properties={"score": 1.5, "clicks": 1, "is_vip": True, "note": "a"})
COMMAS = {
    "12,50": 12.5,
    "-0,5": -0.5,
    "1,234": 1.234,
    "1.234,5": 1234.5,
    "1\u00a0234,5": 1234.5,
    "7": 7.0,
    "7.25": 7.25,
    "1,2,3": None,
    "1.23,5": None,
    ",5": None,
}


def write_typed(delimiter: str, rows: list[list[str]]) -> bytes:
    """Return a CSV file with the columns score, clicks, is_vip and note."""
    heading = ["userId", "event", "timestamp", "messageId", "score", "clicks", "is_vip", "note"]
    cells = [["u", "Email Opened", "2025-01-01T00:00:00Z", f"m{n}", *row] for n, row in enumerate(rows)]
    return "".join(delimiter.join(f'"{cell}"' for cell in row) + "\n" for row in [heading, *cells]).encode()


@pytest.mark.parametrize("is_flat", [False, True])
def test_decimal_commas_are_read_into_columns_of_numbers(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_flat: bool
) -> None:
    if is_flat:
        monkeypatch.setattr(transform, "MAX_ATTEMPTS", 0)
    load_events(settings, [TYPED], tmp_path)
    load_bytes(settings, write_typed(";", [[text, "3,0", "TRUE", text] for text in COMMAS]), tmp_path, "x.csv")
    stored = "select score, clicks, is_vip, note from email_opened where id <> 'typed' order by substr(id, 2)::int"
    found = select(settings, stored)
    assert {row["note"]: row["score"] for row in found} == COMMAS
    assert {(row["clicks"], row["is_vip"]) for row in found} == {(3, True)}
    kept = {row["value"] for row in select(settings, "select value from discarded_values")}
    assert kept == {'"1,2,3"', '"1.23,5"', '",5"'}
    content = json.dumps(base(messageId="json", properties={"score": "12,50"})).encode()
    assert load_bytes(settings, content, tmp_path, "later").counts["values_discarded"] == 1


def test_a_comma_is_no_decimal_sign_in_other_files(settings: Settings, tmp_path: Path) -> None:
    load_events(settings, [TYPED], tmp_path)
    result = load_bytes(settings, write_typed(",", [["12,50", "1", "False", "x"]]), tmp_path, "x.csv")
    assert result.counts["values_discarded"] == 1
    assert one(settings, "select score, is_vip from email_opened where id = 'm0'") == {"score": None, "is_vip": False}


def test_thousands_of_columns_are_loaded_or_kept(settings: Settings, tmp_path: Path) -> None:
    wide = [f"p{n}" for n in range(3000)]
    text = ";".join([SHORT, *wide]) + "\n" + "".join(short(n, "x;" + ";".join(wide)) + "\n" for n in range(3))
    result = load_bytes(settings, text.encode(), tmp_path, "wide.csv")
    assert (result.status, result.counts["events_loaded"]) == ("ok", 3)
    stored = one(
        settings, "select count(*) from jsonb_each((select to_jsonb(t) from email_opened as t where id = 'm1'))"
    )
    assert stored["count"] == 500
    assert result.counts["values_discarded"] > 0


@hypothesis_settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["", "x", '"a;b"', '"c\nd"', '""']), st.integers(0, 4)), max_size=8))
def test_any_number_of_empty_cells_at_the_end_changes_nothing(rows: list[tuple[str, int]]) -> None:
    def texts(*, is_padded: bool, size: int) -> list[Any]:
        lines = [short(n, cell, ";" * count * is_padded) for n, (cell, count) in enumerate(rows)]
        stream = io.BytesIO("\n".join([SHORT, *lines, ""]).encode())
        chunks = list(read_csv(stream, "x", (0, 1), size, CsvDialect()))
        assert not any(chunk.rejects for chunk in chunks)
        return [(chunk.line(n), text) for chunk in chunks for n, text in enumerate(chunk.texts.to_pylist())]

    assert texts(is_padded=True, size=120) == texts(is_padded=False, size=1 << 20)
