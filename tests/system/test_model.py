"""Loads generated events and compares the tables with an independent implementation of the rules."""

import json
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from psycopg.rows import dict_row

from loader.config import Settings
from loader.postgres.connection import engine
from loader.schema.event_tables import COLLECTIONS, MAILING, STANDARD
from loader.schema.ops_tables import warehouse
from tests.support.load_oracle import Model
from tests.support.load_oracle_values import canonical, is_stored, parse
from tests.support.loading import content, event, load_bytes, load_events, select

#: Tables whose row a migration has written.
SINGLE_ROWS = {"suppression_key"}

examples = hypothesis_settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)

SCALARS = [
    *("null", "true", "false", "0", "5", "-7", "5.0", "1.5", "1e5", "-0.25E-3", "1.10", "1E+2"),
    *("9007199254740993", "9223372036854775807", "9223372036854775808", "123456789012345678901234567890"),
    *('""', '"x"', '"5"', '"5.0"', '"-1.25"', '"true"', '" 5"', '"null"', '"é 😀"', r'"\ud83d\ude00"', r'"a\"b\\\/\n"'),
    *(r'"a\u0000b"', r'"\ud800"', r'"\\u0000"', '"{"', '"{}"', r'"{\"a\": 1}"', '"[1]"', '"["', '"NaN"', '"1e400"'),
    *('"007"', '"01.5"', '"2025-01-01T00:00:00.123456789Z"', '"9999-12-31T23:59:59.9999999Z"', '"-5.00"'),
    *('"2025-01-01"', '"2025-01-01T10:00"', '"2025-01-01T10:00:00.5+02:00"', '"2025-06-01 10:00:00-0330"'),
    *('"2025-02-30T10:00:00Z"', '"0000-01-01T00:00:00Z"', '"9999-12-31T23:59:59-10:00"', '"２０２５-01-01T00:00:00Z"'),
    "9" * 5000,
]
#: Some of these map to the same column, some have other types elsewhere, some are reserved by a part of the loader.
KEYS = [
    *("email_id", "emailId", "Email ID", "link_url", "a", "a.b", "b", "0", "1", "list", "score", "Score"),
    *("user_id", "id", "timestamp", "context_ip", "order", "ip", "userAgent", "traits", "email", "é", "", "~", "a/b"),
    *("q\\\"u'o`te", "; drop table tracks; --", "$", "*", "n", "line", "c0", "xmin", r"k\u0000", r"k\ud800", "x" * 70),
]


keys = st.sampled_from([f'"{key}"' for key in KEYS])


def object_of(values: st.SearchStrategy[str], most: int = 3) -> st.SearchStrategy[str]:
    pairs = st.lists(st.tuples(keys, values).map(":".join), max_size=most)
    return pairs.map(lambda items: "{" + ", ".join(items) + "}")


def array_of(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(values, max_size=2).map(lambda items: "[" + ",".join(items) + "]")


def deep(levels: int, inside: str) -> str:
    return '{"a":' * levels + inside + "}" * levels


scalars = st.sampled_from(SCALARS)
values = scalars | st.recursive(scalars, lambda inside: object_of(inside) | array_of(inside), max_leaves=4)
values |= st.builds(deep, st.sampled_from([13, 14, 15, 16, 30]), st.sampled_from(["1", "{}", "[{}]", '{"b":1,"b":2}']))


def mostly(usual: list[str], odd: list[str | None]) -> st.SearchStrategy[str | None]:
    """Draw a usual value in nine of ten cases."""
    return st.integers(0, 9).flatmap(lambda n: st.sampled_from(usual if n else odd))


ODD = [None, "null", "true", "{}", "[]", "5", '""', '{"a": 1}']
TIMES = [f'"2025-01-01T00:00:0{second}.000Z"' for second in range(4)]
ODD_TIMES = [*ODD, '"yesterday"', '"2025-01-01"', '"2025-01-01T00:00"', '"2025-01-01 01:00:02+01:00"', '"infinity"']
ODD_TIMES += [
    '"20250101T000002,5+0100"',
    '"Wed, 1 Jan 2025 00:00:03 GMT"',
    "1735689602000",
    '"1735689602.5"',
    "1.735689602e9",
]
ODD_TIMES += [
    '"2025-01-01t24:00 utc"',
    '"2024-12-31T23:59:60.5Z"',
    '"2025-01-01T00:00:61Z"',
    '"0001-01-01T00:00:00Z"',
    '"9999-12-31T23:59:59-10:00"',
]
EVENTS = ['"Email Opened"', '"Email Link Clicked"', '"Unsubscribed"', '"Email Unsubscribed"', '"Other"']
ODD_EVENTS = [*ODD, '"é"', '"Tracks"', '"email_opened"', r'"Q\"u\u0000o; drop table tracks"', '"404"', '"true"']
IDS = ['"m1"', '"m2"', '"m3"', '"m4"', '"m5"']
body = st.none() | object_of(values, 6) | object_of(values, 6) | st.sampled_from(["null", "[]", "5", '"{}"', "{}"])
FIELDS: dict[str, st.SearchStrategy[str | None]] = {
    "type": mostly(['"track"'], [*ODD, '"identify"', '"sing"']),
    "event": mostly(EVENTS, [*ODD_EVENTS]),
    "messageId": mostly([*IDS, "null"], [*ODD, f'"{"x" * 101}"', f'"{"é" * 100}"', '"5"']),
    "userId": mostly(['"u1"'], [*ODD, '"{u}"']),
    "anonymousId": mostly(["null"], [*ODD, '"a@b.example"']),
    "originalTimestamp": mostly(TIMES[:2], [*ODD_TIMES]),
    "sentAt": mostly(TIMES, [*ODD_TIMES]),
    "receivedAt": mostly(TIMES, [*ODD_TIMES]),
    "timestamp": mostly(TIMES, [*ODD_TIMES]),
    "context": body,
    "properties": body,
}
#: Fields that are not in the API, or repeated.
more = st.tuples(
    st.sampled_from(
        ['"mood"', '"version"', '"integrations"', '"userId"', '"sentAt"', '"context"', '"properties"', '"é"']
    ),
    values,
).map(":".join)


def written(fields: dict[str, str | None], others: list[str]) -> str:
    known = [f'"{name}":{value}' for name, value in fields.items() if value is not None]
    return "{" + ",".join([*known, *others]) + "}"


extras = st.integers(0, 3).flatmap(lambda n: st.just([]) if n else st.lists(more, max_size=2))
events = st.builds(written, st.fixed_dictionaries(FIELDS), extras).map(str.encode)
BROKEN = [
    *(b"no json", b'{"event":"Email Opened"', b"{}{}", b'{"event":"\xff"}', b"5", b"null", b'"text"', b"{}", b"[]"),
    *(b'{"event":"\x01"}', b"\0", b"", b"  ", b"\r", "\u00a0".encode(), b"\x0b", b"\x1c", "\ufeff{}".encode()),
    *(
        b'{"batch":[]}',
        b'{"batch":[{"type":"identify"}, 5, {"type":"sing","a":[1.5]}]}',
        b'{"batch":5}',
        b'{"event":01}',
    ),
    b'{"batch":[{"event":"Email Opened","messageId":"b1","userId":"u1","sentAt":"2025-01-01T00:00:00Z"}]}',
]
lines = st.integers(0, 6).flatmap(lambda n: events if n else st.sampled_from(BROKEN))
worlds = st.lists(lines, min_size=1, max_size=12) | st.lists(lines, min_size=8, max_size=30)
sizes = st.sampled_from([8 << 20, 1, 1500])


def file_of(some: list[bytes]) -> bytes:
    """Return the content of a file with these lines; if it began with `[` it would be read as an array."""
    return b'{"type":"identify"}\n' + b"".join(line + b"\n" for line in some)


@dataclass
class Warehouse:
    """A database that is emptied before each example."""

    settings: Settings
    folder: Path
    connection: psycopg.Connection[dict[str, Any]]
    files: int = 0

    def clear(self) -> None:
        """Create all tables again as the migrations do, without the columns of earlier examples."""
        made = warehouse(self.settings.schema)
        with engine(self.settings.database_url).begin() as connection:
            connection.exec_driver_sql(
                f"drop schema {self.settings.schema} cascade; create schema {self.settings.schema}"
            )
            made.create_all(connection, [table for table in made.sorted_tables if table.schema == self.settings.schema])
            ops = [
                f"{table.schema}.{table.name}"
                for table in made.sorted_tables
                if table.schema == self.settings.ops and table.name not in SINGLE_ROWS
            ]
            connection.exec_driver_sql(f"truncate {', '.join(ops)}")

    def load(self, data: bytes, size: int, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
        """Load a file with the loader and with the model."""
        monkeypatch.setattr("loader.pipeline.worker.CHUNK_SIZE", size)
        self.files += 1
        before = Counter(model.counts)
        result = load_bytes(self.settings, data, self.folder, f"file{self.files}")
        model.load(str(self.folder / f"file{self.files}"), data, size)
        (self.folder / f"file{self.files}").unlink()
        assert result.errors == []
        expected = {name: count - before[name] for name, count in model.counts.items() if count - before[name]}
        assert {name: n for name, n in result.counts.items() if n and name != "values_discarded"} == expected

    def fetch(self, query: str, *parameters: Any) -> list[dict[str, Any]]:
        return self.connection.execute(query, parameters or None).fetchall()

    def kinds(self) -> dict[str, dict[str, str]]:
        """Return the types of the columns by table."""
        found: dict[str, dict[str, str]] = {}
        query = """
            select relname, attname, format_type(atttypid, null) as kind from pg_attribute
            join pg_class on attrelid = pg_class.oid
            where relnamespace = %s::regnamespace and relkind = 'r' and relname <> 'settings'
                and attnum > 0 and not attisdropped
        """
        for row in self.fetch(query, self.settings.schema):
            found.setdefault(row["relname"], {})[row["attname"]] = row["kind"]
        return found

    def rows(self, table: str, kinds: dict[str, str]) -> dict[tuple[int | None, str], dict[str, Any]]:
        """Return the rows of a table by their keys, times in microseconds, without `uuid_ts`."""
        selected = ", ".join(
            _microseconds(column) if kind == "timestamp with time zone" else _quoted(column)
            for column, kind in kinds.items()
            if column != "uuid_ts"
        )
        found = self.fetch(f"select {selected} from {self.settings.schema}.{_quoted(table)}")
        rows = {(row["original_timestamp"], row["id"]): row for row in found}
        assert len(rows) == len(found)
        return rows


def _quoted(name: str) -> str:
    return '"' + name.replace("%", "%%") + '"'


def _microseconds(column: str) -> str:
    return f"(extract(epoch from {_quoted(column)}) * 1000000)::bigint as {_quoted(column)}"


@pytest.fixture
def house(settings: Settings, tmp_path: Path) -> Iterator[Warehouse]:
    assert settings.database_url
    with closing(psycopg.connect(settings.database_url, autocommit=True, row_factory=dict_row)) as connection:
        connection.execute(f"set search_path to {settings.ops}")
        yield Warehouse(settings, tmp_path, connection)


def check(house: Warehouse, model: Model) -> None:
    """Compare the content of the database with the model."""
    kinds = house.kinds()
    rows = {table: house.rows(table, columns) for table, columns in kinds.items()}
    check_columns(kinds, model)
    assert set(rows["tracks"]) == set(model.stored)
    assert sum(map(len, rows.values())) == 2 * len(model.stored)
    discarded: Counter[Any] = Counter()
    for key, loaded in model.stored.items():
        expected, lost = loaded.placed(kinds[loaded.table])
        check_row(rows[loaded.table][key], expected)
        check_row(rows["tracks"][key], {name: expected.get(name) for name in kinds["tracks"] if name != "uuid_ts"})
        discarded.update((*key, loaded.table, name, canonical(value), reason) for name, value, reason in lost)
    check_same(discards(house), discarded)
    check_same(rejects(house), model.rejects)


def check_same(actual: Counter[Any], expected: Counter[Any]) -> None:
    assert (actual - expected, expected - actual) == (Counter(), Counter())


def check_columns(kinds: dict[str, dict[str, str]], model: Model) -> None:
    """Check that each additional column has the type of one of its values, in any table for context columns."""
    fixed = {table: {*STANDARD, *MAILING, *names} for table, names in COLLECTIONS.items()}
    for table, columns in kinds.items():
        made = {name: kind for name, kind in columns.items() if name not in fixed.get(table, STANDARD)}
        wanted = {name for of, name in model.kinds if of == table and name in made}
        assert made.keys() == wanted
        owner = {name: "tracks" if name.startswith("context_") else table for name in made}
        assert [name for name, kind in made.items() if kind not in model.kinds[owner[name], name]] == []


def check_row(row: dict[str, Any], expected: dict[str, Any]) -> None:
    """Check that each column has the value of the model, or null if the model has none."""
    wrong = {
        name: (actual, expected.get(name))
        for name, actual in row.items()
        if not (is_stored(actual, expected[name]) if expected.get(name) is not None else actual is None)
    }
    assert wrong == {}, row["id"]
    assert {name for name, value in expected.items() if value is not None} <= set(row)


def discards(house: Warehouse) -> Counter[Any]:
    query = f"""
        select {_microseconds("original_timestamp")}, event_id, table_name, property, value, reason
        from discarded_values
    """
    return Counter(
        (*list(row.values())[:4], canonical(parse(row["value"])), row["reason"]) for row in house.fetch(query)
    )


def rejects(house: Warehouse) -> Counter[tuple[str, int, bytes, str]]:
    return Counter(
        (row["uri"], row["line"], row["raw"], row["reason"])
        for row in house.fetch("select uri, line, raw, reason from rejected_events")
    )


@examples
@given(worlds, sizes)
def test_one_file_is_loaded_by_the_rules(
    house: Warehouse, monkeypatch: pytest.MonkeyPatch, world: list[bytes], size: int
) -> None:
    house.clear()
    model = Model()
    house.load(file_of(world), size, model, monkeypatch)
    check(house, model)


@hypothesis_settings(examples, max_examples=3)
@given(st.lists(st.tuples(worlds, sizes), min_size=2, max_size=3))
def test_several_files_are_loaded_by_the_rules_and_again_add_nothing(
    house: Warehouse, monkeypatch: pytest.MonkeyPatch, files: list[tuple[list[bytes], int]]
) -> None:
    house.clear()
    model = Model()
    for world, size in files:
        house.load(file_of(world), size, model, monkeypatch)
    check(house, model)
    loaded, before = model.counts["events_loaded"], content(house.settings)
    house.load(file_of([line for world, _ in files for line in world]), 8 << 20, model, monkeypatch)
    assert model.counts["events_loaded"] == loaded
    assert content(house.settings) == before
    check(house, model)


@hypothesis_settings(examples, max_examples=4)
@given(worlds, st.integers(0, 5))
def test_the_order_of_the_lines_of_a_chunk_does_not_matter(
    house: Warehouse, monkeypatch: pytest.MonkeyPatch, world: list[bytes], seed: int
) -> None:
    found = []
    for some in (world, random.Random(seed).sample(world, len(world))):
        house.clear()
        house.load(file_of(some), 8 << 20, Model(), monkeypatch)
        kept = Counter((raw, reason) for _, _, raw, reason in rejects(house).elements())
        found.append((content(house.settings), discards(house), kept, house.kinds()))
    assert found[0] == found[1]


@pytest.mark.parametrize("number", ["1.10", "1e5", "1E+2", "5.0", "12345678901234567890.5", "0.1234567890123456789"])
def test_a_fraction_in_a_text_column_is_the_double_it_is_read_as(
    settings: Settings, tmp_path: Path, number: str
) -> None:
    assert float(load_email_id(settings, tmp_path, number)) == float(number)


@pytest.mark.parametrize("number", ["0.1e-500", "9007199254740993.0", "1e400", "-1e400"])
def test_an_event_loads_whatever_its_numbers_are(settings: Settings, tmp_path: Path, number: str) -> None:
    assert load_email_id(settings, tmp_path, number)


def load_email_id(settings: Settings, tmp_path: Path, number: str) -> str:
    """Load a number and return the value of the text column `email_id`."""
    line = json.dumps(event()).encode()[:-1] + b',"properties":{"email_id":' + number.encode() + b"}}"
    load_bytes(settings, line, tmp_path)
    ((stored,),) = [row.values() for row in select(settings, "select email_id from email_opened")]
    return str(stored)


@pytest.mark.parametrize(
    ("first", "then", "stored", "reasons"),
    [
        (7, "007", None, ["misfit"]),
        (7, "5", 5, []),
        (7, "5.0", 5, []),
        (7, "5.5", None, ["misfit"]),
        (1.5, "01.5", None, ["misfit"]),
        (1.5, "2.5", 2.5, []),
    ],
)
def test_a_text_fits_a_column_of_numbers_if_it_is_spelled_as_a_number(
    settings: Settings, tmp_path: Path, first: Any, then: str, stored: Any, reasons: list[str]
) -> None:
    load_events(settings, [event(messageId="first", properties={"p": first})], tmp_path, "first")
    load_events(settings, [event(properties={"p": then})], tmp_path)
    assert [row["p"] for row in select(settings, "select p from email_opened where id = 'm1'")] == [stored]
    assert [row["reason"] for row in select(settings, "select reason from discarded_values")] == reasons


def test_what_is_finer_than_a_microsecond_is_cut_off(settings: Settings, tmp_path: Path) -> None:
    fine = "2025-01-01T00:00:00.1234569Z"
    load_events(settings, [event(originalTimestamp=fine, properties={"p": fine})], tmp_path)
    (row,) = select(settings, "select original_timestamp, p from email_opened")
    assert [time.microsecond for time in row.values()] == [123456, 123456]
    assert select(settings, "select * from discarded_values") == []


@pytest.mark.parametrize("moment", ["9999-12-31T23:59:59-10:00", "0000-01-01T00:00:00Z", "0001-01-01T00:00:00+01:00"])
def test_a_time_outside_the_years_1_to_9999_cannot_be_read(settings: Settings, tmp_path: Path, moment: str) -> None:
    sent = event(originalTimestamp=moment, properties={"p": moment})
    assert load_events(settings, [sent], tmp_path).counts["events_loaded"] == 1
    assert load_events(settings, [sent], tmp_path, "again").counts["events_loaded"] == 0
    assert select(settings, "select original_timestamp as t, p from email_opened") == [{"t": None, "p": moment}]
    discarded = select(settings, "select property, reason from discarded_values")
    assert [tuple(row.values()) for row in discarded] == [("originalTimestamp", "unread_time")]


def test_a_stored_event_of_another_name_conflicts_with_all_of_its_key(
    house: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Model()
    house.load(json.dumps(event(event="Other")).encode(), 8 << 20, model, monkeypatch)
    twins = [event(properties={"p": number}) for number in (1, 2)]
    house.load(file_of([json.dumps(twin).encode() for twin in twins]), 8 << 20, model, monkeypatch)
    check(house, model)
