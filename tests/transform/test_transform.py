"""Chunks that cannot be converted as a whole: they are split, and only what cannot be converted is rejected."""

from pathlib import Path
from typing import Any

import pytest

from loader.config import Settings
from loader.pipeline.options import Options
from loader.pipeline.rejected_events import RejectFilter
from loader.pipeline.replay import replay_rejects
from loader.transform import limits, transform
from loader.transform.assemble import assemble
from loader.transform.envelope import create_envelope
from loader.transform.parse import ParsedChunk
from tests.support.loading import event, load_bytes, load_events, load_file, ndjson, one, select


def poison(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Let chunks with events that have one of these ids fail."""

    def fail(prepared: ParsedChunk, *rest: Any) -> Any:
        texts = prepared.lines.table["line"].to_pylist()
        if any(f'"{name}"' in text for text in texts for name in names):
            raise MemoryError("too much")
        return assemble(prepared, *rest)

    monkeypatch.setattr(transform, "assemble", fail)


def rejects(settings: Settings) -> list[tuple[int, str, str]]:
    found = select(settings, "select line, reason, detail from rejected_events order by line")
    return [(row["line"], row["reason"], row["detail"]) for row in found]


def test_events_that_cannot_be_converted_do_not_hold_up_the_others(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison(monkeypatch, "m33", "m34", "m90")
    (tmp_path / "1").write_bytes(ndjson(event(messageId=f"m{n}") for n in range(100)))
    (tmp_path / "2").write_bytes(ndjson([event(messageId="next")]))
    result = load_file(settings, tmp_path)
    assert (result.counts["events_loaded"], result.counts["events_rejected"]) == (98, 3)
    detail = "MemoryError: too much"
    assert rejects(settings) == [(line, "too_complex", detail) for line in (34, 35, 91)]
    sums = "select sum(events_read) as read, max(position) as position, max(line) as line from files"
    assert one(settings, sums) == {"read": 101, "position": (tmp_path / "1").stat().st_size, "line": 100}


def test_what_could_not_be_converted_can_be_replayed(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison(monkeypatch, "m3", "m5")
    load_events(settings, [event(messageId=f"m{n}") for n in range(8)], tmp_path)
    poison(monkeypatch, "m5")
    result = replay_rejects(settings, RejectFilter(), Options())
    assert (result.counts["events_loaded"], result.counts["events_rejected"]) == (1, 1)
    assert one(settings, "select line from rejected_events where replayed_at is null") == {"line": 6}
    monkeypatch.setattr(transform, "assemble", assemble)
    replay_rejects(settings, RejectFilter(), Options())
    assert one(settings, "select count(*) from tracks") == {"count": 8}


def test_attempts_are_limited_if_nothing_can_be_converted(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transform, "MAX_TRIALS", 10)
    poison(monkeypatch, "m1")
    result = load_events(settings, [event(messageId="m1", userId=f"u{n}") for n in range(100)], tmp_path)
    assert (result.counts["events_read"], result.counts["events_rejected"]) == (100, 100)


@pytest.mark.parametrize(("limit", "value"), [("MAX_CELLS", 100), ("MAX_DISCARDED", 30), ("MAX_VALUES", 300)])
def test_a_chunk_that_is_too_large_is_loaded_in_parts(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    monkeypatch.setattr(limits, limit, value)
    events = [event(messageId=f"m{n}", properties={"a": n, "b": {"c": n}, "id": 1}) for n in range(100)]
    result = load_events(settings, events, tmp_path)
    assert (result.counts["events_loaded"], result.counts["values_discarded"]) == (100, 100)
    assert one(settings, "select count(*), sum(a) from email_opened where a = b_c") == {"count": 100, "sum": 4950}
    assert one(settings, "select count(distinct uuid_ts) > 1 as is_split from tracks") == {"is_split": True}


def test_a_batch_whose_shared_fields_take_too_much_memory_is_rejected_alone(settings: Settings, tmp_path: Path) -> None:
    batch = {"context": {"text": "x" * 400_000}, "batch": [event(messageId=f"b{n}") for n in range(500)]}
    load_bytes(settings, ndjson([event(messageId="before"), batch, event(messageId="after")]), tmp_path, max_rejects=9)
    assert [row["id"] for row in select(settings, "select id from tracks order by id")] == ["after", "before"]
    assert [row[:2] for row in rejects(settings)] == [(2, "too_complex")]


def test_an_event_with_very_many_keys_is_rejected_alone(settings: Settings, tmp_path: Path) -> None:
    many = event(messageId="many", properties={f"p{n}": n for n in range(110_000)})
    load_events(settings, [event(messageId="before"), many, event(messageId="after")], tmp_path)
    assert [row["id"] for row in select(settings, "select id from tracks order by id")] == ["after", "before"]
    assert [row[:2] for row in rejects(settings)] == [(2, "too_complex")]


def test_the_objects_of_all_tables_are_found_together(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each time that objects are found, all events of the chunk are parsed again."""
    created = []

    def create(objects: list[str], *, reads_any_form: bool) -> str:
        created.append(len(objects))
        return create_envelope(objects, reads_any_form=reads_any_form)

    monkeypatch.setattr("loader.transform.parse.create_envelope", create)
    events = [event(messageId=f"m{n}", event=f"Event {n}", properties={f"o{n}": {"p": {"q": n}}}) for n in range(20)]
    load_events(settings, events, tmp_path)
    assert one(settings, "select o7_p_q from event_7") == {"o7_p_q": 7}
    assert len(created) <= 4
