"""Calls of the tracking API: bodies are converted to the lines that a file with the same events has."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from loader.config import Settings
from loader.endpoint.limits import MAX_BATCH_BYTES, MAX_EVENT_BYTES, MAX_EVENTS
from loader.endpoint.tracking_calls import CallError, find_write_key, read_call
from loader.events.outcomes import unwrap_reject
from loader.migrate import migrate
from loader.sample import ndjson as sample
from tests.support.loading import content, event, load_bytes, ndjson, one, select

NOW = "2025-06-01T12:00:00.000Z"


def converted(kind: str, body: Any) -> list[dict[str, Any]]:
    """Return the events of a call, parsed from its lines."""
    call = read_call(kind, body if isinstance(body, bytes) else json.dumps(body).encode(), NOW)
    lines = call.lines.splitlines()
    assert len(lines) == call.events
    return [json.loads(line) for line in lines]


def test_a_single_call_is_a_line_of_the_type_of_its_path() -> None:
    (found,) = converted("track", {"event": "Email Opened", "userId": "1", "messageId": "m", "type": "page"})
    assert found == {"event": "Email Opened", "userId": "1", "messageId": "m", "type": "track", "receivedAt": NOW}
    assert converted("identify", {"userId": "1"})[0]["type"] == "identify"


def test_the_senders_time_becomes_the_original_one() -> None:
    (found,) = converted("track", {"timestamp": "2025-01-01T00:00:00Z", "originalTimestamp": "1999-01-01T00:00:00Z"})
    assert (found["originalTimestamp"], "timestamp" in found) == ("2025-01-01T00:00:00Z", False)
    (found,) = converted("track", {"timestamp": None, "originalTimestamp": "1999-01-01T00:00:00Z"})
    assert found["originalTimestamp"] == "1999-01-01T00:00:00Z"


def test_nobody_but_us_says_when_an_event_was_received() -> None:
    assert converted("track", {"receivedAt": "1999-01-01T00:00:00Z"})[0]["receivedAt"] == NOW


@pytest.mark.parametrize("without", [{}, {"messageId": None}, {"messageId": ""}])
def test_an_event_without_a_message_id_gets_one_of_its_own(without: dict[str, Any]) -> None:
    first, second = converted("batch", {"batch": [{"type": "track", **without}] * 2})
    assert first["messageId"] != second["messageId"]
    assert len(first["messageId"]) == 36


@pytest.mark.parametrize(
    ("body", "key"),
    [
        (b'{"writeKey":"secret","event":"a"}', "secret"),
        (b'{"writeKey":"secret","batch":[{"type":"track","writeKey":"other"}]}', "secret"),
        (b'{"batch":[{"type":"track","writeKey":"other"}], "writeKey" : "secret"}', "secret"),
        (b'\xef\xbb\xbf{"writeKey":"secret"}', "secret"),
        (b'{"writeKey":"secret","a":"\\ud83d"}', "secret"),
        (b'{"batch":[{"writeKey":"other"}]}', None),
        (b'{"a":{"writeKey":"other"}}', None),
        (b'{"writeKey":5}', None),
        (b'{"writeKey":null}', None),
        (b'["writeKey"]', None),
        (b'{"writeKey":"\xff"', None),
        (b"", None),
    ],
)
def test_the_write_key_is_found_and_kept_out_of_the_event(body: bytes, key: str | None) -> None:
    assert find_write_key(body) == key
    if key:
        kind = "batch" if b"batch" in body else "track"
        lines = read_call(kind, body, NOW).lines
        assert (b"secret" in lines, b"other" in lines, b"writeKey" in lines) == (False, False, False)


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (b"null", "not_object"),
        (b"5", "not_object"),
        (b'"text"', "not_object"),
        (b"[1, {}]", "not_object"),
        (b"{}", "no_type"),
        (b'{"type":null,"event":null}', "no_type"),
        (b'{"userId": "1"}', "no_type"),
        (b'{"type":"track","a":"' + b"x" * MAX_EVENT_BYTES + b'"}', "too_large"),
    ],
)
def test_one_events_fault_costs_one_event(event: bytes, reason: str) -> None:
    call = read_call("batch", b'{"batch":[{"type":"track","a":1},' + event + b',{"event":"b"}]}', NOW)
    first, second, third = call.lines.splitlines()
    assert (call.events, call.rejected) == (3, 1)
    assert (json.loads(first)["a"], json.loads(third)["event"]) == (1, "b")
    assert json.loads(second)["selligentLoaderReject"]["reason"] == reason
    assert unwrap_reject(second) == (event, f"{len(event):,} bytes" if reason == "too_large" else None)


def test_null_in_an_event_does_not_cancel_what_the_batch_says() -> None:
    shared = {"context": {"ip": "1.1.1.1"}, "integrations": {"All": True}, "sentAt": "2025-01-01T00:00:00Z"}
    events = [{"type": "track", "context": None}, {"type": "track", "sentAt": None, "integrations": None}]
    for found in converted("batch", {"batch": events, **shared}):
        assert {name: found[name] for name in shared} == shared


@pytest.mark.parametrize("spelling", [(",", ":"), (", ", ": "), (" ,", " :\t")])
def test_of_a_repeated_name_the_first_value_counts_and_the_others_are_kept(spelling: tuple[str, str]) -> None:
    comma, colon = spelling
    fields = ['"event"', '"a"'], ['"userId"', '"1"'], ['"event"', '"b"'], ['"timestamp"', "1"], ['"timestamp"', "2"]
    body = "{" + comma.join(colon.join(field) for field in fields) + "}"
    for kind, call in (("track", body), ("batch", f'{{"batch":[{body}]}}')):
        (line,) = read_call(kind, call.encode(), NOW).lines.splitlines()
        pairs = json.loads(line, object_pairs_hook=list)
        assert [value for name, value in pairs if name == "event"] == ["a", "b"]
        assert next(value for name, value in pairs if name == "originalTimestamp") == 1
    twice = '{"batch":[{"event":"a"}],"context":{"ip":"1"},"batch":[{"event":"b"}],"context":{"ip":"2"}}'
    (line,) = read_call("batch", twice.replace(",", comma).replace(":", colon).encode(), NOW).lines.splitlines()
    assert (json.loads(line)["event"], json.loads(line)["context"]) == ("a", {"ip": "1"})


def test_every_repetition_is_found_however_it_is_written() -> None:
    """Compares with Python's own parser, for bodies with random names, blanks and escapes."""
    chance = random.Random(3)
    for _ in range(3000):
        names = [chance.choice(['"a"', '"b"', '"\\u0061"', '"\xe9"', '"type"', '"type"']) for _ in range(4)]
        blanks = [chance.choice(["", "", " ", "\t"]) for _ in range(16)]
        values = [chance.choice(["1", "1.0", '"x"', "[ 1 ]", '{"a": 1,"a":2}', "null"]) for _ in range(4)]
        fields = [f"{blanks.pop()}{n}{blanks.pop()}:{blanks.pop()}{v}" for n, v in zip(names, values, strict=True)]
        body = "{" + (chance.choice([", ", ","])).join(fields) + blanks.pop() + "}"
        firsts = dict(reversed(json.loads(body, object_pairs_hook=list)))
        (line,) = read_call("batch", b'{"batch":[' + body.encode() + b"]}", NOW).lines.splitlines()
        if firsts.get("type") is None:
            assert b"no_type" in line
            continue
        found = json.loads(line, object_pairs_hook=list)
        assert {name: value for name, value in dict(reversed(found)).items() if name in firsts} == firsts
        own = {"receivedAt", "messageId"}
        kept = [name for name, _ in found if name not in own and name != "type"]
        assert sorted(kept) == sorted(n for n, _ in json.loads(body, object_pairs_hook=list) if n != "type")


def test_values_keep_their_spelling() -> None:
    body = b'{"properties":{"a":12345678901234567890.10,"b":1e400,"c":"\\u00e9\\/"}}'
    assert b'{"a":12345678901234567890.10,"b":1e400,"c":"\\u00e9\\/"}' in read_call("track", body, NOW).lines


def test_a_body_on_several_lines_is_one_line() -> None:
    assert converted("track", b'{\r\n  "event":\n "a",\n"properties": {\n"b": [1,\n2]}}')[0]["properties"] == {
        "b": [1, 2]
    }
    body = json.dumps({"batch": [{"event": "a"}, {"event": "b"}]}, indent=2).encode()
    assert [found["event"] for found in converted("batch", body)] == ["a", "b"]


def test_half_a_surrogate_pair_is_no_reason_to_refuse() -> None:
    assert converted("track", b'\xef\xbb\xbf{"event":"a"}')[0]["event"] == "a"
    (found,) = converted("track", b'{"event":"a","properties":{"b":"\\ud83d","c":"\\ud83d\\ude00"}}')
    assert found["properties"] == {"b": "�", "c": "\U0001f600"}


def nested(depth: int) -> bytes:
    return b'{"properties":' + b"[" * depth + b"]" * depth + b"}"


@pytest.mark.parametrize(
    ("kind", "body", "reason"),
    [
        ("track", b"", "is not JSON"),
        ("track", b"{", "is not JSON"),
        ("track", b"\xef\xbb\xbf\xef\xbb\xbf{}", "is not JSON"),
        ("track", b'{"event":"\xff"}', "is not JSON in UTF-8"),
        ("track", b'{"event":"a\nb"}', "is not JSON"),
        ("track", b'{"event":NaN}', "is not JSON"),
        ("track", b"{} {}", "is not JSON"),
        ("track", b"[]", "not a track call"),
        ("batch", b"[]", "not a batch call"),
        ("batch", b"{}", "not a batch call"),
        ("batch", b'{"batch":{}}', "not a batch call"),
        ("track", nested(16_000), "nested too deeply"),
        ("batch", b'{"batch":[' + nested(16_000) + b"]}", "nested too deeply"),
        ("track", b'{"a":"' + b"a" * MAX_EVENT_BYTES + b'"}', "larger than 32 KB"),
        ("batch", b'{"batch":[' + b" " * MAX_BATCH_BYTES + b"]}", "larger than 500 KB"),
        ("batch", b'{"batch":[' + b",".join([b"{}"] * (MAX_EVENTS + 1)) + b"]}", "more than 2,500 events"),
    ],
)
def test_what_is_no_call_is_refused_with_the_reason(kind: str, body: bytes, reason: str) -> None:
    with pytest.raises(CallError, match=reason):
        read_call(kind, body, NOW)


def test_what_is_at_its_limit_is_taken() -> None:
    assert len(converted("track", b'{"a":"' + b"a" * (MAX_EVENT_BYTES - 8) + b'"}')) == 1
    assert len(converted("batch", b'{"batch":[' + b",".join([b"{}"] * MAX_EVENTS) + b"]}")) == MAX_EVENTS
    assert converted("batch", {"batch": []}) == []


def test_what_a_batch_says_for_all_its_events_is_merged_as_from_a_file(settings: Settings, tmp_path: Path) -> None:
    """Loads the same bodies once as a file and once as calls."""
    events = [
        event(messageId="1", receivedAt=None, timestamp=None, context={"ip": "1.1.1.1", "traits": {"a": 1}}),
        event(messageId="2", receivedAt=None, timestamp=None, sentAt=None),
        event(messageId="3", receivedAt=None, timestamp=None, context={"traits": {"email": "own@example.com"}}),
    ]
    shared = {
        "sentAt": "2025-01-01T00:01:00Z",
        "context": {"ip": "2.2.2.2", "traits": {"email": "all@example.com"}},
        "integrations": {"All": False},
    }
    calls = Settings(settings.database_url, "calls")
    migrate(calls)
    body = {"batch": events, **shared}
    load_bytes(settings, ndjson([{**body, "receivedAt": NOW}]), tmp_path, "bodies")
    load_bytes(calls, read_call("batch", json.dumps(body).encode(), NOW).lines, tmp_path, "lines")
    assert content(calls) == content(settings)
    found = select(calls, "select context_ip, context_traits_email, sent_at::text from tracks order by id")
    assert [tuple(row.values()) for row in found] == [
        ("1.1.1.1", "all@example.com", "2025-01-01 00:00:01+00"),
        ("2.2.2.2", "all@example.com", "2025-01-01 00:01:00+00"),
        ("2.2.2.2", "own@example.com", "2025-01-01 00:00:01+00"),
    ]


def test_the_senders_clock_is_corrected(settings: Settings, tmp_path: Path) -> None:
    body = {
        "sentAt": "2025-06-01T14:00:00Z",
        "batch": [{"type": "track", "event": "Email Opened", "userId": "1", "timestamp": "2025-06-01T13:00:00Z"}],
    }
    load_bytes(settings, read_call("batch", json.dumps(body).encode(), NOW).lines, tmp_path)
    row = one(settings, "select timestamp::text, original_timestamp::text, received_at::text from tracks")
    assert list(row.values()) == ["2025-06-01 11:00:00+00", "2025-06-01 13:00:00+00", "2025-06-01 12:00:00+00"]


def test_sample_events_are_the_same_as_calls_and_from_a_file(settings: Settings, tmp_path: Path) -> None:
    lines = [json.loads(line) for line in b"".join(sample.lines(3000, seed=5)).splitlines()]
    events = [{**line, "receivedAt": NOW} for line in lines if line.keys() >= {"originalTimestamp", "messageId"}]
    calls = Settings(settings.database_url, "calls")
    migrate(calls)
    as_file = ndjson({name: value for name, value in line.items() if name != "timestamp"} for line in events)
    load_bytes(settings, as_file, tmp_path, "file", max_rejects=3000)
    sent = [{**line, "timestamp": line["originalTimestamp"]} for line in events]
    bodies = [json.dumps({"batch": sent[at : at + 100]}).encode() for at in range(0, len(sent), 100)]
    read = b"".join(read_call("import", body, NOW).lines for body in bodies)
    load_bytes(calls, read, tmp_path, "calls", max_rejects=3000)
    assert content(calls) == content(settings)
    assert one(calls, "select count(*) > 2000 as many from tracks") == {"many": True}
