"""Numbers with more digits than a double holds keep their digits: in texts, or as discarded values."""

import json
from pathlib import Path

import pytest

from loader.config import Settings
from loader.pipeline.widen import plan_widening, widen_column
from loader.schema.source import open_warehouse
from loader.transform import transform
from tests.support.loading import event, load_bytes, load_events, one, select

LONG = "0.1234567890123456789"
EXACT = ["0.1", "1e3", "100.50", "0.30000000000000004", "0.79999999999999993", "-12345.6789", "1.5E-300", "0.0"]
INEXACT = [LONG, "-3.14159265358979323846", "12345678901234567.5", "1234567890123456789012e-3", "9.87654321012345678E2"]


def line(number: int, **properties: str) -> bytes:
    """Return an event whose properties are JSON texts."""
    texts = ", ".join(f'"{name}": {text}' for name, text in properties.items())
    head = json.dumps(event(messageId=f"m{number}")).removesuffix("}")
    return f'{head}, "properties": {{{texts}}}}}\n'.encode()


TYPED = line(0, score="1.5", code='"x"', count="1")


@pytest.fixture(params=["by shapes", "flattened"])
def plan(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "flattened":
        monkeypatch.setattr(transform, "MAX_ATTEMPTS", 0)


@pytest.mark.usefixtures("plan")
def test_no_digit_is_lost_without_a_trace(settings: Settings, tmp_path: Path) -> None:
    load_bytes(settings, TYPED, tmp_path)
    texts = [*EXACT, *INEXACT]
    rows = [line(n, score=text, code=text, count=text, list=f"[{text}, 1]") for n, text in enumerate(texts, 1)]
    result = load_bytes(settings, b"".join(rows), tmp_path, "more")
    assert result.counts["events_loaded"] == len(texts)
    stored = select(
        settings, "select score, code, count, list from email_opened where id <> 'm0' order by substr(id, 2)::int"
    )
    assert [row["score"] for row in stored] == [float(text) for text in EXACT] + [None] * len(INEXACT)
    assert [row["count"] for row in stored[: len(EXACT)]] == [None, 1000, *[None] * 5, 0]
    for text, row in zip(texts, stored, strict=True):
        kept = [row["code"], json.loads(row["list"], parse_float=str, parse_int=str)[0]]
        assert kept == [text, text] if text in INEXACT else list(map(float, kept)) == [float(text)] * 2
    kept = select(settings, "select property, value, reason from discarded_values where event_id > 'm0' order by 1, 2")
    assert [row["value"] for row in kept if row["property"] == "score"] == sorted(INEXACT)
    assert {row["value"] for row in kept if row["property"] == "count"} >= set(INEXACT)
    assert {row["reason"] for row in kept} == {"misfit"}


@pytest.mark.usefixtures("plan")
def test_a_long_number_makes_a_column_of_numbers_and_becomes_text_when_it_is_widened(
    settings: Settings, tmp_path: Path
) -> None:
    load_bytes(settings, line(1, price=LONG), tmp_path)
    assert one(settings, "select price, pg_typeof(price)::text as kind from email_opened") == {
        "price": None,
        "kind": "double precision",
    }
    with open_warehouse(settings) as warehouse:
        plan = plan_widening(settings, warehouse, "email_opened", "price")
    assert widen_column(settings, plan) == 1
    assert one(settings, "select price from email_opened") == {"price": LONG}


def test_texts_of_digits_are_not_rounded_either(settings: Settings, tmp_path: Path) -> None:
    load_bytes(settings, TYPED, tmp_path)
    head = "userId,event,timestamp,messageId,score"
    cells = [f"u,Email Opened,2025-01-01T00:00:00Z,c{n},{text}" for n, text in enumerate([*EXACT, *INEXACT])]
    load_bytes(settings, "\n".join([head, *cells, ""]).encode(), tmp_path, "x.csv")
    stored = select(settings, "select score from email_opened where id like 'c%' order by substr(id, 2)::int")
    assert [row["score"] for row in stored] == [float(text) for text in EXACT] + [None] * len(INEXACT)
    kept = select(settings, "select value from discarded_values")
    assert sorted(json.loads(row["value"]) for row in kept) == sorted(INEXACT)


def test_long_numbers_of_batches_waiting_columns_and_unknown_fields_are_kept(
    settings: Settings, tmp_path: Path
) -> None:
    call = line(1, price=LONG).decode().replace('"type"', f'"mood": {LONG}, "type"')
    body = f'{{"batch": [{call}, {{"type": "track", "event": "X", "properties": {{"a": {LONG}}}}}]}}'.replace("\n", "")
    load_bytes(settings, body.encode() + b"\n", tmp_path, max_columns=1)
    kept = select(settings, "select property, value, reason from discarded_values order by 1")
    assert [tuple(row.values()) for row in kept] == [("mood", LONG, "unknown_field"), ("price", LONG, "no_column")]
    (reject,) = select(settings, "select raw from rejected_events")
    assert LONG.encode() in reject["raw"]
    load_bytes(settings, b"", tmp_path, "nothing")
    assert one(settings, "select price from email_opened") == {"price": None}
    changed = select(settings, "select value, reason from discarded_values where property = 'price'")
    assert [tuple(row.values()) for row in changed] == [(LONG, "misfit")]


def test_the_id_of_an_event_without_one_does_not_depend_on_how_its_numbers_are_kept(
    settings: Settings, tmp_path: Path
) -> None:
    text = line(1, price=LONG).replace(b'"messageId": "m1", ', b"")
    load_bytes(settings, text, tmp_path)
    (found,) = select(settings, "select id from email_opened")
    load_events(settings, [event(messageId=found["id"])], tmp_path, "same")
    rounded = text.replace(LONG.encode(), repr(float(LONG)).encode())
    assert load_bytes(settings, rounded, tmp_path, "rounded").counts["events_duplicate"] == 1
