"""The reader follows a spool: each line once and in order, whatever the segments do meanwhile."""

import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from loader.spool.reader import Position, SpoolReader
from loader.spool.segment_list import LineCounter, SegmentList
from loader.spool.segments import (
    Segment,
    archive_segment,
    close_segment,
    closed_segments,
    make_folders,
    open_segment,
)
from loader.spool.writer import Spool


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    lock, places = make_folders(tmp_path / "spool", ["a"])
    with lock:
        yield places["a"]


def drain(reader: SpoolReader) -> list[bytes]:
    lines = []
    while block := reader.read():
        lines += block.lines
    return lines


def test_an_open_segment_is_read_up_to_its_last_complete_line(place: Path) -> None:
    segment = open_segment(place, 1)
    reader = SpoolReader(place, Position())
    assert reader.read() is None
    segment.write(b"1\n2\n3")
    assert drain(reader) == [b"1", b"2"]
    assert reader.position == Position(segment.path.stem, 4)
    segment.write(b"3\n")
    assert drain(reader) == [b"33"]
    segment.close()


@pytest.mark.parametrize("moves", [0, 1, 2])
def test_a_reader_goes_on_where_another_one_stopped_wherever_the_segment_is(place: Path, moves: int) -> None:
    segment = open_segment(place, 1)
    segment.write(b"1\n2\n3\n")
    segment.close()
    if moves > 0:
        close_segment(segment.path, segment.size)
    if moves > 1:
        archive_segment(closed_segments(place)[0])
    reader = SpoolReader(place, Position(segment.path.stem, 2))
    assert drain(reader) == [b"2", b"3"]
    assert reader.lines_read == 3
    assert reader.position == Position(segment.path.stem, 6, is_complete=moves > 0)


def test_lines_that_came_between_two_looks_are_not_skipped(place: Path) -> None:
    """The writer appends, closes and begins the next segment after the reader has found nothing."""
    first = open_segment(place, 1)
    first.write(b"1\n")
    reader = SpoolReader(place, Position())
    assert drain(reader) == [b"1"]
    read_list = reader.segments.read
    written: list[Segment] = []

    def write_then_list() -> dict[str, Path]:
        if not written:
            first.write(b"2\n")
            first.close()
            written.append(open_segment(place, 2))
            written[0].write(b"3\n")
        return read_list()

    reader.segments.read = write_then_list  # type: ignore[method-assign]
    assert drain(reader) == [b"2", b"3"]
    written[0].close()


def test_a_removed_segment_is_reported_and_passed(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number in (1, 2):
        segment = open_segment(place, number)
        segment.write(b"%d\n" % number)
        segment.close()
        close_segment(segment.path, segment.size)
    first, _ = closed_segments(place)
    reader = SpoolReader(place, Position(first.name.partition(".")[0], 0))
    first.unlink()
    assert drain(reader) == [b"2"]
    assert "removed before its events were forwarded" in caplog.text


@pytest.mark.parametrize("seed", range(5))
def test_each_line_is_read_once_while_segments_are_written_closed_and_loaded(tmp_path: Path, seed: int) -> None:
    """The reader is replaced at random, at its own position or at an earlier one."""
    chance, sent, found = random.Random(seed), 0, []
    folder = tmp_path / "spool"

    def deliver(*_: Any) -> None:
        pass

    with closing(Spool(folder, ["a"], 1 << 30, deliver)) as spool:
        reader, counter = SpoolReader(folder / "a", Position()), LineCounter()
        for _ in range(300):
            action = chance.random()
            if action < 0.5:
                count = chance.randint(1, 50)
                spool.append("a", b"".join(b"%d\n" % number for number in range(sent, sent + count)), None)
                sent += count
            elif action < 0.6:
                spool.rotate()
            elif action < 0.7:
                for path in spool.closed("a")[: chance.randint(1, 3)]:
                    spool.archive(path)
            elif action < 0.75:
                reader.close()
                reader = SpoolReader(folder / "a", reader.position)
            elif block := reader.read():
                found += [int(line) for line in block.lines]
        spool.rotate()
        found += [int(line) for line in drain(reader)]
        reader.close()
        assert found == list(range(sent))
        assert sum(counter.count(name, path) for name, path in SegmentList(folder / "a").read().items()) == sent
