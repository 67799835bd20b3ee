"""CSV files: delimiters, encodings, malformed rows, and tables exported by psql."""

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest

from loader.config import Settings
from loader.inputs.csv import CsvDialect
from loader.sample import ndjson as sample
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
