"""Invalid input: each event is rejected with its reason, and valid events beside it are loaded."""

import gzip
import json
import os
from pathlib import Path
from typing import Any

import psycopg
import pytest

from loader.config import Settings
from loader.errors import LoaderError, WarehouseError
from loader.events.outcomes import wrap_reject
from loader.pipeline.options import Options
from tests.support.loading import event, load, load_bytes, load_events, ndjson, one, select

GOOD = event(messageId="good")


def surrounded(line: bytes) -> bytes:
    return ndjson([GOOD]) + line + b"\n" + ndjson([event(messageId="good too")])


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"no json", "not_json"),
        (json.dumps(event()).encode()[:-9], "not_json"),
        (b'{"event":"\x01"}', "not_json"),
        (b"\0", "not_json"),
        (b'{"event":"\xff"}', "not_utf8"),
        (json.dumps(event()).encode("utf-16-le"), "not_json"),
        (b"5", "not_object"),
        (b'"text"', "not_object"),
        (b"null", "not_object"),
        (b"{}", "no_type"),
        (b'{"batch":5}', "no_type"),
    ],
)
def test_a_line_that_is_no_event_is_kept_as_it_came(
    settings: Settings, tmp_path: Path, line: bytes, reason: str
) -> None:
    result = load_bytes(settings, surrounded(line), tmp_path)
    assert (result.status, result.counts["events_loaded"], result.counts["events_rejected"]) == ("partial", 2, 1)
    rejected = one(settings, "select load_id, uri, line, raw, reason, detail from rejected_events")
    assert (rejected["load_id"], rejected["uri"]) == (result.load_id, str(tmp_path / "events"))
    assert (rejected["line"], rejected["raw"], rejected["reason"]) == (2, line, reason)
    assert rejected["detail"]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"type": None, "event": None}, "no_type"),
        ({"type": "sing"}, "unknown_type"),
        ({"type": ""}, "unknown_type"),
        ({"event": None}, "no_event"),
        ({"event": ""}, "no_event"),
        ({"event": "é"}, "nameless_event"),
        ({"userId": None}, "no_identity"),
        ({"userId": "", "anonymousId": ""}, "no_identity"),
        ({"messageId": "x" * 101}, "id_too_long"),
        ({"receivedAt": None, "sentAt": None, "originalTimestamp": None, "timestamp": None}, "no_time"),
        ({"receivedAt": "?", "sentAt": "?", "originalTimestamp": "?"}, "no_time"),
        ({"type": 5}, "unknown_type"),
        ({"type": {}}, "wrong_kind"),
        ({"type": True}, "wrong_kind"),
        ({"event": 404}, "wrong_kind"),
        ({"event": ["Email Opened"]}, "wrong_kind"),
        ({"event": {"name": "Email Opened"}}, "wrong_kind"),
        ({"event": False}, "wrong_kind"),
        ({"userId": {"id": 1}}, "wrong_kind"),
        ({"userId": True}, "wrong_kind"),
        ({"anonymousId": []}, "wrong_kind"),
        ({"messageId": {}}, "wrong_kind"),
        ({"context": "none"}, "wrong_kind"),
        ({"context": [1]}, "wrong_kind"),
        ({"properties": [{}]}, "wrong_kind"),
        ({"properties": 0}, "wrong_kind"),
        ({"properties": "{}"}, "wrong_kind"),
    ],
)
def test_an_envelope_that_is_wrong_has_its_reason(
    settings: Settings, tmp_path: Path, fields: dict[str, Any], reason: str
) -> None:
    line = json.dumps(event(**fields)).encode()
    result = load_bytes(settings, surrounded(line), tmp_path)
    assert result.counts["events_loaded"] == 2
    assert tuple(one(settings, "select line, raw, reason from rejected_events").values()) == (2, line, reason)


@pytest.mark.parametrize(
    "fields",
    [
        {"type": None},
        {"event": "404"},
        {"event": "true"},
        {"userId": 12},
        {"userId": "{braces}"},
        {"messageId": 5},
        {"context": {}},
        {"properties": {}},
        {"userId": None, "anonymousId": "a@b.example"},
    ],
)
def test_an_unusual_envelope_is_no_fault(settings: Settings, tmp_path: Path, fields: dict[str, Any]) -> None:
    assert load_events(settings, [event(**fields)], tmp_path).status == "ok"


def test_null_is_as_good_as_missing(settings: Settings, tmp_path: Path) -> None:
    nothing = dict.fromkeys(["messageId", "context", "properties", "sentAt", "receivedAt", "anonymousId", "type"])
    assert load_events(settings, [{**event(), **nothing}], tmp_path).status == "ok"
    assert select(settings, "select * from discarded_values") == []


@pytest.mark.parametrize("call", ["identify", "page", "screen", "group", "alias"])
def test_other_calls_of_the_api_are_ignored_and_counted(settings: Settings, tmp_path: Path, call: str) -> None:
    result = load_events(settings, [GOOD, event(type=call, event=None, traits={"a": 1})], tmp_path)
    assert (result.status, result.counts["events_loaded"], result.counts["events_ignored"]) == ("ok", 1, 1)


@pytest.mark.parametrize("apart", [False, True], ids=["in one chunk", "in another load"])
def test_a_key_stored_under_another_name_is_a_reject_that_names_it(
    settings: Settings, tmp_path: Path, apart: bool
) -> None:
    first, second = event(), event(event="Email Link Clicked", receivedAt="2025-01-01T00:00:07.000Z")
    if apart:
        load_events(settings, [first], tmp_path, "first")
        load_events(settings, [second], tmp_path, "second")
    else:
        load_events(settings, [second, first], tmp_path)
    rejected = one(settings, "select raw, reason, detail from rejected_events")
    assert (json.loads(rejected["raw"]), rejected["reason"]) == (second, "key_conflict")
    assert "'email_opened'" in rejected["detail"]
    assert one(settings, "select event from tracks") == {"event": "email_opened"}


@pytest.mark.parametrize(
    ("properties", "discarded"),
    [
        ({"user_id": "x", "sentAt": 1}, [("sentAt", "1", "reserved"), ("user_id", '"x"', "reserved")]),
        ({"context_ip": "x"}, [("context_ip", '"x"', "reserved")]),
        ({"emailId": "a", "email_id": "b"}, [("emailId", '"a"', "collision")]),
        ({"Email ID": "a", "emailId": "b"}, [("emailId", '"b"', "collision")]),
        ({"product": {"sku": 1}, "product_sku": 2}, [("product.sku", "1", "collision")]),
        ({"é": [1, "2"], "": None}, [("é", '[1,"2"]', "nameless")]),
        ({"score": 1.5}, [("score", "1.5", "misfit")]),
        ({"score": "1"}, []),
        ({"score": {"value": 2}}, []),
        ({"score": 2**64}, [("score", str(2**64), "misfit")]),
    ],
)
def test_a_value_without_a_place_is_kept_with_its_reason(
    settings: Settings, tmp_path: Path, properties: dict[str, Any], discarded: list[tuple[str, str, str]]
) -> None:
    load_events(settings, [event(messageId="first", properties={"score": 7})], tmp_path, "first")
    result = load_events(settings, [event(properties=properties)], tmp_path)
    assert (result.status, result.counts["events_loaded"]) == ("ok", 1)
    kept = select(settings, "select event_id, table_name, property, value, reason from discarded_values order by 3")
    assert {(row["event_id"], row["table_name"]) for row in kept} <= {("m1", "email_opened")}
    assert [(row["property"], row["value"], row["reason"]) for row in kept] == discarded
    assert result.counts["values_discarded"] == len(discarded)


def test_fields_the_api_does_not_have_are_kept(settings: Settings, tmp_path: Path) -> None:
    load_events(settings, [event(mood="good", version=1, channel="server", integrations={"All": True})], tmp_path)
    kept = select(settings, "select property, value, reason from discarded_values")
    assert [tuple(row.values()) for row in kept] == [("mood", '"good"', "unknown_field")]


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    "line",
    [
        rb'{"note": "a\u0000b"}',
        rb'{"k\u0000ey": "v"}',
        rb'{"note": "\ud800 \udc00\ud83d\ude00"}',
        b'{"n": 123456789012345678901234567890, "m": -1e400, "k": 0.1e-500}',
        json.dumps({"text": "x" * 1_000_000}).encode(),
        json.dumps({f"Property {i}": i for i in range(5000)}).encode(),
        json.dumps({f"p{i}": {"a": {"b": i}} for i in range(1500)}).encode(),
        json.dumps(deep(500)).encode(),
        json.dumps({"list": [[[[deep(300)]]]]}).encode(),
        b'{"a": 1, "a": 2, "b": {"c": 1, "c": {"d": 2}}}',
        b'{"Key": 1, "key": 2, "KEY": 3, "kEY": null}',
        json.dumps({"a.b": 1, "q\"u'o`te": 2, "; drop table tracks; --": 3, "$": 4, "*": 5, "a/b~c": 6}).encode(),
        json.dumps({"x" * 200: 1, "y" * 63: 2, "x" * 199 + "y": 3}).encode(),
        json.dumps({"0": {"0": 1}, "list": [1, 2], "list2": {"0": 5}}).encode(),
        json.dumps({"n": 1, "line": 2, "v": 3, "shape": 4, "c0": 5, "verdict": 6}).encode(),
        json.dumps({"ctid": 1, "xmin": 2, "tableoid": 3, "select": 4, "1": 5}).encode(),
    ],
)
def test_whatever_the_properties_are_the_events_load(settings: Settings, tmp_path: Path, line: bytes) -> None:
    bad = json.dumps(event()).encode()[:-1] + b', "properties": ' + line + b', "context": ' + line + b"}"
    result = load_bytes(settings, surrounded(bad), tmp_path)
    assert result.counts["events_loaded"] == 3, select(settings, "select reason, detail from rejected_events")
    assert load_bytes(settings, surrounded(bad), tmp_path, "again").counts["events_duplicate"] == 3


def test_a_value_in_text_keeps_its_spelling_and_nothing_is_lost(settings: Settings, tmp_path: Path) -> None:
    properties = b'{"a": 1, "a": 2, "b": {"c": 1, "c": {"d": [2]}}, "list": [{"a": 1, "a": null}]}'
    load_bytes(settings, json.dumps(event()).encode()[:-1] + b', "properties": ' + properties + b"}", tmp_path)
    assert one(settings, "select a, b_c, list from email_opened") == {"a": 1, "b_c": 1, "list": '[{"a":1,"a":null}]'}
    kept = select(settings, "select property, value, reason from discarded_values order by property")
    assert [tuple(row.values()) for row in kept] == [
        ("a", "2", "repeated_key"),
        ("b.c", '{"d": [2]}', "repeated_key"),
    ]


@pytest.mark.parametrize("field", ["properties", "context"])
def test_an_empty_list_instead_of_an_object_is_a_discarded_value(
    settings: Settings, tmp_path: Path, field: str
) -> None:
    """PHP encodes an empty array as a list."""
    values: list[Any] = [[], {}, None]
    events = [event(messageId=str(n), **{field: value}) for n, value in enumerate(values)]
    assert load_events(settings, events, tmp_path).counts["events_loaded"] == 3
    kept = select(settings, "select event_id, property, value, reason from discarded_values")
    assert [tuple(row.values()) for row in kept] == [("0", field, "[]", "empty_list")]


def test_null_in_an_event_does_not_cancel_a_field_of_its_batch(settings: Settings, tmp_path: Path) -> None:
    body = {
        "batch": [event(context=None, sentAt=None), event(messageId="m2", context={"ip": "2.2.2.2"})],
        "context": {"ip": "1.1.1.1"},
        "sentAt": "2025-01-01T00:00:00Z",
    }
    load_bytes(settings, json.dumps(body).encode(), tmp_path)
    found = select(settings, "select context_ip, sent_at is null as is_missing from tracks order by context_ip")
    assert [tuple(row.values()) for row in found] == [("1.1.1.1", False), ("2.2.2.2", False)]


@pytest.mark.parametrize("reason", ["too_large", "not_object", "no_type"])
def test_the_line_of_an_event_that_the_endpoint_rejects_is_a_reject_with_the_bytes_of_the_event(
    settings: Settings, tmp_path: Path, reason: str
) -> None:
    raw = '{"a": "é \\u0000 \\" \\ud83d"}'.encode() + b" " * 70_000
    result = load_bytes(settings, surrounded(wrap_reject(raw, reason)), tmp_path)
    assert (result.counts["events_loaded"], result.counts["events_rejected"]) == (2, 1)
    kept = one(settings, "select line, raw, reason, detail from rejected_events")
    assert (kept["line"], kept["raw"], kept["reason"]) == (2, raw[:65_536], reason)
    assert ("of which the first 64 KB are kept" in kept["detail"]) == (reason == "too_large")


def test_such_a_line_that_names_an_event_or_another_reason_is_as_any_other(settings: Settings, tmp_path: Path) -> None:
    line = json.loads(wrap_reject(b"5", "too_large"))
    other = json.loads(wrap_reject(b"5", "too_long"))
    load_events(settings, [event(**line), other], tmp_path)
    assert one(settings, "select reason, raw from rejected_events")["reason"] == "no_type"
    assert one(settings, "select reason from discarded_values") == {"reason": "unknown_field"}


def test_characters_that_cannot_be_stored_are_replaced_and_counted(settings: Settings, tmp_path: Path) -> None:
    line = json.dumps(event()).encode()[:-1] + rb', "properties": {"note": "a\u0000b\ud800c\\u0000\ud83d\ude00"}}'
    result = load_bytes(settings, line, tmp_path)
    assert one(settings, "select note from email_opened") == {"note": "a\ufffdb\ufffdc\\u0000😀"}
    assert result.counts["values_repaired"] == 2


def test_beyond_the_cap_on_columns_values_are_kept(settings: Settings, tmp_path: Path) -> None:
    properties = {f"p{i:02}": i for i in range(10)}
    result = load_bytes(settings, ndjson([event(properties=properties)]), tmp_path, max_columns=20)
    row = one(settings, "select * from email_opened")
    kept = select(settings, "select property, value from discarded_values where reason = 'no_column'")
    assert len(row) == 20
    assert {name: value for name, value in row.items() if name in properties} | {
        item["property"]: int(item["value"]) for item in kept
    } == properties
    assert result.status == "ok"


def test_a_row_the_database_refuses_is_a_reject_and_no_other_is(settings: Settings, tmp_path: Path) -> None:
    assert settings.database_url
    with psycopg.connect(settings.database_url) as connection:
        connection.execute("alter table selligent.email_unsubscribed alter list_name type varchar(5)")
    events = [
        event(messageId=f"m{i}", event="Email Unsubscribed", properties={"list_name": "too long" * (i in {3, 40})})
        for i in range(50)
    ]
    result = load_events(settings, events, tmp_path)
    assert (result.counts["events_loaded"], result.counts["events_rejected"]) == (48, 2)
    rejected = select(settings, "select line, reason, detail from rejected_events order by line")
    assert [(row["line"], row["reason"]) for row in rejected] == [
        (4, "refused_by_database"),
        (41, "refused_by_database"),
    ]
    assert "value too long" in rejected[0]["detail"]


def test_an_event_whose_table_cannot_be_made_is_a_reject(settings: Settings, tmp_path: Path) -> None:
    assert settings.database_url
    with psycopg.connect(settings.database_url) as connection:
        connection.execute("create view selligent.order_completed as select 1 as one")
    result = load_events(settings, [GOOD, event(event="Order Completed")], tmp_path)
    assert result.counts["events_loaded"] == 1
    assert one(settings, "select reason from rejected_events") == {"reason": "no_table"}


def test_a_line_that_is_too_long_is_kept_in_pieces(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loader.inputs.json_lines.MAX_LINE", 10_000)
    monkeypatch.setattr("loader.pipeline.worker.CHUNK_SIZE", 1_000)
    line = json.dumps(event(properties={"text": "x" * 45_000})).encode()
    result = load_bytes(settings, surrounded(line), tmp_path)
    pieces = select(settings, "select line, raw, reason from rejected_events order by rejected_id")
    assert b"".join(piece["raw"] for piece in pieces) == line
    assert {(piece["line"], piece["reason"]) for piece in pieces} == {(2, "too_long")}
    assert result.counts["events_loaded"] == 2


def test_a_file_that_cannot_be_read_is_named_and_the_others_load(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "good").write_bytes(ndjson([event()]))
    (tmp_path / "empty folder").mkdir()
    cut = gzip.compress(ndjson([event(messageId=str(i)) for i in range(1000)]))[:-20]
    (tmp_path / "cut.gz").write_bytes(cut)
    os.utime(tmp_path / "cut.gz", (0, 0))  # old enough not to count as being written
    paths = [str(tmp_path / name) for name in ("missing", "empty folder", "cut.gz", "good")]
    result = load(settings, paths, Options())
    assert result.status == "failed"
    assert result.counts["events_loaded"] == 1  # the truncated file has no complete chunk
    assert [
        name for name in ("missing", "empty folder", "cut.gz") if any(name in error for error in result.errors)
    ] == [
        "missing",
        "empty folder",
        "cut.gz",
    ]
    assert one(settings, "select status, error from files where uri like '%%cut.gz'")["status"] == "failed"
    (tmp_path / "cut.gz").write_bytes(gzip.compress(ndjson([event(messageId=str(i)) for i in range(1000)])))
    assert load(settings, [str(tmp_path / "cut.gz")], Options()).counts["events_loaded"] == 1000


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_file_without_permission_is_named(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "secret").touch(0o000)
    result = load(settings, [str(tmp_path / "secret")], Options())
    assert "secret" in result.errors[0]


@pytest.mark.parametrize(
    "change", [{"host": "127.0.0.1", "port": "1"}, {"password": "wrong-pass"}, {"dbname": "nowhere"}]
)
def test_a_database_that_cannot_be_reached_is_told_without_the_password(
    settings: Settings, tmp_path: Path, change: dict[str, str]
) -> None:
    from psycopg.conninfo import conninfo_to_dict, make_conninfo

    url = make_conninfo("", **{**conninfo_to_dict(settings.database_url or ""), **change})
    if "password" in change and "password" not in conninfo_to_dict(settings.database_url or ""):
        pytest.skip("the server asks for no password")
    with pytest.raises(LoaderError) as caught:
        load_events(Settings(url, "selligent"), [event()], tmp_path)
    assert "\n" not in str(caught.value)
    assert str(conninfo_to_dict(url).get("password")) not in str(caught.value)
    assert caught.value.exit_code == 1


def test_without_the_right_to_create_the_message_says_whom_to_ask(settings: Settings, tmp_path: Path) -> None:
    from psycopg.conninfo import conninfo_to_dict, make_conninfo

    from loader.migrate import migrate

    assert settings.database_url
    with psycopg.connect(settings.database_url, autocommit=True) as connection:
        connection.execute("create role stranger login password 'stranger'")
        url = make_conninfo(
            "", **{**conninfo_to_dict(settings.database_url), "user": "stranger", "password": "stranger"}
        )
        try:
            with pytest.raises(WarehouseError, match="ask the database's owner"):
                migrate(Settings(url, "fresh"))
            with pytest.raises(LoaderError, match="ask the database's owner"):
                load_events(Settings(url, "selligent"), [event()], tmp_path)
        finally:
            connection.execute("drop role stranger")


@pytest.mark.parametrize("time", ["0000-01-01T00:00:00.000Z", "9999-12-31T23:59:59-10:00", "0001-01-01T00:00:00+10:00"])
def test_a_time_that_python_or_postgresql_has_not_is_kept_aside(settings: Settings, tmp_path: Path, time: str) -> None:
    assert load_events(settings, [event(originalTimestamp=time, properties={"at": time})], tmp_path).status == "ok"
    assert one(settings, "select original_timestamp, at from email_opened") == {"original_timestamp": None, "at": time}
    assert one(settings, "select property, reason from discarded_values") == {
        "property": "originalTimestamp",
        "reason": "unread_time",
    }


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"list": {"0": {"x": 1}}}, {"list": [{"x": 5}]}),
        ({"list": {"0": 5}}, {"list": [{"a": 1}]}),
        ({"list": {"0": {"é": 1}}}, {"list": [{"é": 5}]}),
    ],
)
def test_a_property_called_by_a_digit_is_no_place_in_an_array(
    settings: Settings, tmp_path: Path, first: dict[str, Any], second: dict[str, Any]
) -> None:
    load_events(settings, [event(properties=first), event(messageId="m2", properties=second)], tmp_path)
    row = one(settings, "select * from email_opened where id = 'm2'")
    assert [name for name, value in row.items() if name.startswith("list") and value is not None] == ["list"]
    assert json.loads(row["list"]) == second["list"]
    assert select(settings, "select * from discarded_values where event_id = 'm2'") == []


def test_whose_key_it_is_does_not_depend_on_the_chunk(settings: Settings, tmp_path: Path) -> None:
    stored = event(receivedAt="2025-01-01T00:00:05.000Z")
    other = event(event="Email Link Clicked", receivedAt="2025-01-01T00:00:04.000Z")
    load_events(settings, [stored], tmp_path, "first")
    result = load_events(settings, [stored, other], tmp_path, "second")
    assert (result.counts["events_duplicate"], result.counts["events_rejected"]) == (1, 1)
    rejected = one(settings, "select raw, detail from rejected_events")
    assert json.loads(rejected["raw"]) == other
    assert "'email_opened'" in rejected["detail"]


def test_rejects_beside_a_batch_body_keep_their_bytes(settings: Settings, tmp_path: Path) -> None:
    lines = [json.dumps({"batch": [event()]}).encode(), b'{"event": "\\u0000"}', b" 5"]
    load_bytes(settings, b"\r\n".join(lines), tmp_path)
    assert [row["raw"] for row in select(settings, "select raw from rejected_events order by line")] == [lines[1], b"5"]


def test_only_what_json_calls_blank_is_a_blank_line(settings: Settings, tmp_path: Path) -> None:
    result = load_bytes(settings, b"\n \t\r\n\xc2\xa0\n\x0b\n{}\n", tmp_path)
    assert (result.counts["events_read"], result.counts["events_rejected"]) == (3, 3)


@pytest.mark.parametrize(
    ("values", "kind", "stored"),
    [
        (['"2025-02-30T00:00:00Z"', '"tomorrow"'], "text", ["2025-02-30T00:00:00Z", "tomorrow"]),
        (['{"y": 1}', "5"], "bigint", [None, 5]),
        (["5", '{"y": 1}'], "bigint", [5, None]),
        (["1", '"007"'], "bigint", [1, None]),
        (["0.5", '"01.5"'], "double precision", [0.5, None]),
    ],
)
def test_a_column_has_the_type_of_its_first_value(
    settings: Settings, tmp_path: Path, values: list[str], kind: str, stored: list[Any]
) -> None:
    lines = [
        json.dumps(event(messageId=f"m{i}"))[:-1] + f', "properties": {{"x": {v}}}}}' for i, v in enumerate(values)
    ]
    load_bytes(settings, "\n".join(lines).encode(), tmp_path)
    assert [row["x"] for row in select(settings, "select x from email_opened order by id")] == stored
    query = "select format_type(atttypid, null) as kind from pg_attribute where attrelid = 'email_opened'::regclass"
    assert one(settings, query + " and attname = 'x'") == {"kind": kind}


def test_an_empty_object_makes_no_column_at_any_depth(settings: Settings, tmp_path: Path) -> None:
    value: Any = {}
    for _ in range(15):
        value = {"a": value}
    load_events(
        settings, [event(properties={"x": {}, **value}), event(messageId="m2", properties={"x": {"y": 1}})], tmp_path
    )
    row = one(settings, "select * from email_opened where id = 'm1'")
    assert {name: value for name, value in row.items() if name.startswith(("a_", "x"))} == {"x_y": None}


def test_what_is_repeated_is_kept_as_it_is_spelled(settings: Settings, tmp_path: Path) -> None:
    digits = "9" * 5000
    properties = f'{{"z": 1, "z": {digits}, "z": 1e400, "z": {{"b": 1, "b": [2.50]}}}}'
    line = json.dumps(event(mood={"a": 1}))[:-1] + f', "properties": {properties}}}'
    load_bytes(settings, line.encode(), tmp_path)
    kept = select(settings, "select property, value from discarded_values")
    assert sorted((row["property"], row["value"]) for row in kept) == sorted(
        [("mood", '{"a":1}'), ("z", digits), ("z", "1e400"), ("z", '{"b": 1, "b": [2.50]}')]
    )
