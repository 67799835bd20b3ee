"""Segments stay until every enabled integration has passed them, as far as the limit of its backlog allows."""

import os
import time
from pathlib import Path

import pytest

from loader.config import Settings
from loader.forwarding.configuration import set_status
from loader.forwarding.retention import first_needed
from loader.schema.source import open_warehouse
from loader.spool.retention import remove_older, remove_oldest
from loader.spool.segments import closed_segments
from tests.support.forwarding import add, forward_events, received, spooling, state, write
from tests.support.loading import select
from tests.support.targets import target


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SELLIGENT_HOME", str(tmp_path / "home"))


def load_all(folder: Path, count: int) -> list[Path]:
    """Write segments that are loaded, with the last change long ago; return them."""
    with spooling(folder) as spool:
        for number in range(count):
            write(spool, [received(number)])
            for path in spool.closed("selligent"):
                spool.archive(path)
    paths = closed_segments(folder / "selligent" / ".loaded")
    for path in paths:
        os.utime(path, (time.time() - 30, time.time() - 30))
    return paths


def needed(settings: Settings, place: Path) -> dict[Path, str]:
    with open_warehouse(settings) as warehouse:
        first = first_needed(warehouse, place)
    return {} if first is None else {place: first}


def test_a_segment_is_kept_until_all_enabled_integrations_have_passed_it(settings: Settings, tmp_path: Path) -> None:
    place = tmp_path / "spool" / "selligent"
    with target() as fast:
        add(settings, fast.url, "fast")
        add(settings, fast.url, "slow")
        load_all(tmp_path / "spool", 3)
        remove_older(place, 0, needed(settings, place))
        assert len(closed_segments(place / ".loaded")) == 3
        forward_events(settings, tmp_path / "spool", "fast")
        remove_older(place, 0, needed(settings, place))
        assert len(closed_segments(place / ".loaded")) == 3
        with open_warehouse(settings) as warehouse:
            set_status(warehouse, "slow", "paused")
        remove_older(place, 0, needed(settings, place))
        assert closed_segments(place / ".loaded") == []


def test_beyond_the_limit_of_the_backlog_the_newest_segments_are_kept(settings: Settings, tmp_path: Path) -> None:
    place = tmp_path / "spool" / "selligent"
    with target() as away:
        paths = load_all(tmp_path / "spool", 4)
        size = max(path.stat().st_size for path in paths)
        add(settings, away.url, backlog_limit=2 * size + 1)
        remove_older(place, 0, needed(settings, place))
        assert closed_segments(place / ".loaded") == paths[2:]
        assert forward_events(settings, tmp_path / "spool")
        assert [item["messageId"] for r in away.requests for item in r.json["batch"]] == ["m2", "m3"]


def test_when_the_disk_is_full_a_needed_segment_is_removed_last(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    paths, place = load_all(tmp_path / "spool", 3), tmp_path / "spool" / "selligent"
    wanted = {place: paths[1].name.partition(".")[0]}
    assert remove_oldest([place], wanted)
    assert not caplog.records
    assert closed_segments(place / ".loaded") == paths[1:]
    assert remove_oldest([place], wanted)
    assert "removed before its events were forwarded" in caplog.text
    assert remove_oldest([place], wanted)
    assert not remove_oldest([place], wanted)


def test_people_are_warned_long_before_segments_are_removed(
    settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    messages: list[str] = []

    def notify(message: str) -> bool:
        messages.append(message)
        return True

    add(settings, "http://127.0.0.1:1")  # nobody listens there
    with spooling(tmp_path / "spool") as spool:
        write(spool, [received(1)])
        (path,) = spool.closed("selligent")
        size = path.stat().st_size
    for share, expected in ((0.3, 0), (0.6, 1), (0.85, 1), (1.2, 1)):
        update = f"update selligent_ops.integrations set backlog_limit = {int(size / share)} returning 1"
        select(settings, update)
        messages.clear()
        forward_events(settings, tmp_path / "spool", notify=notify)
        found = [text for text in messages if "of the limit" in text]
        assert len(found) == expected
    assert state(settings)["waiting_bytes"] == size
