"""Read the events of a spool in order, from closed segments and from the one that is being written."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from loader.spool.segment_list import (
    BLOCK_BYTES,
    SegmentList,
    find_segment,
    is_open,
    open_segment,
    read_pieces,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in the log: the name of a segment without its suffix, and bytes of it after decompression.

    `is_complete` means that the segment is closed and ends there.
    """

    segment: str = ""
    offset: int = 0
    is_complete: bool = False


@dataclass(frozen=True, slots=True)
class Block:
    """Complete lines of a segment, without line ends, and the offset of the first one in bytes."""

    segment: str
    offset: int
    lines: list[bytes]


class SpoolReader:
    """Reads a source's events from a position on. `lines_read` counts the lines of the current segment from its start.

    Use `read` until it returns None, which means that there are no more events now.
    """

    def __init__(self, place: Path, position: Position) -> None:
        """`place` is the folder of the source in the spool."""
        self._place = place
        self.segments = SegmentList(place)
        self.position = position
        self.lines_read = 0
        self._file: IO[bytes] | None = None
        self._rest = b""

    def close(self) -> None:
        """Close the current segment."""
        if self._file:
            self._file.close()
        self._file, self._rest = None, b""

    def read(self) -> Block | None:
        """Return the next complete lines, at least one; None if there are none now.

        `position` is then after these lines, or says that the segment is complete. Logs an error if a segment was
        removed before its events were read.
        """
        while True:
            if block := self._read_block():
                return block
            # A segment that is closed, or has a later one, gets no more lines; but it may have got some until now.
            is_closed = bool(self.position.segment) and not is_open(self._place, self.position.segment)
            later = self.segments.later(self.position.segment)
            if (is_closed or later) and (block := self._read_block()):
                return block
            if is_closed:
                self._complete()
            if later is None:
                return None
            self.close()
            self.position, self.lines_read = Position(later), 0

    def _complete(self) -> None:
        if self.position.is_complete:
            return
        if self._file is None and find_segment(self._place, self.position.segment) is None:
            log.error(
                "the segment %s of %s was removed before its events were forwarded; forward them from the archive with "
                "`selligent-loader integrations replay`",
                self.position.segment,
                self._place,
            )
        self.position = Position(self.position.segment, self.position.offset, is_complete=True)

    def _read_block(self) -> Block | None:
        if not self.position.segment or self.position.is_complete or not self._open():
            return None
        start = self.position
        while True:
            content = self._file.read(BLOCK_BYTES)  # type: ignore[union-attr]
            whole, newline, self._rest = (self._rest + content).rpartition(b"\n")
            if newline:
                break
            if not content:
                return None
        block = Block(start.segment, start.offset, whole.split(b"\n"))
        self.position = Position(start.segment, start.offset + len(whole) + 1)
        self.lines_read += len(block.lines)
        return block

    def _open(self) -> bool:
        """Open the current segment at the position, if it is not open; return whether it is."""
        while self._file is None:
            path = find_segment(self._place, self.position.segment)
            if path is None:
                return False
            try:
                file = open_segment(path)
            except FileNotFoundError:  # it has moved
                continue
            self.lines_read = sum(piece.count(b"\n") for piece in read_pieces(file, self.position.offset))
            self._file = file
        return True
