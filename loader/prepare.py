"""Prepare: a chunk of raw lines → its envelope in DuckDB, which knows no table yet."""

from collections.abc import Iterable
from dataclasses import dataclass

from loader.chunks import Chunk
from loader.envelope import create_envelope
from loader.lines import Lines, decode, expand, is_suspicious, screen
from loader.scratch import MalformedError, Scratch
from loader.shape import Path
from loader.survey import object_pointers


@dataclass(frozen=True, slots=True)
class Prepared:
    """A chunk's lines, and where their envelope is; `objects` are those whose keys it knows."""

    lines: Lines
    scratch: Scratch
    objects: frozenset[Path]

    def deeper(self, objects: Iterable[Path]) -> "Prepared":
        """Return the same with the keys of more objects."""
        return _prepared(self.lines, self.scratch, self.objects | frozenset(objects))


def prepare(chunk: Chunk, scratch: Scratch, objects: frozenset[Path]) -> Prepared:
    """Make the envelope of a chunk, in the hope that every line is JSON."""
    lines = decode(chunk)
    if is_suspicious(lines):
        lines = screen(lines, scratch)
    try:
        prepared = _prepared(lines, scratch, objects)
    except MalformedError:
        prepared = _prepared(screen(lines, scratch), scratch, objects)
    if scratch.exists("verdict = 'no_type' and json_type(line, '/batch') = 'ARRAY'"):
        prepared = _prepared(expand(prepared.lines, scratch), scratch, objects)
    return prepared


def _prepared(lines: Lines, scratch: Scratch, objects: frozenset[Path]) -> Prepared:
    scratch.register("lines", lines.table)
    scratch.execute(create_envelope(object_pointers(objects)))
    return Prepared(lines, scratch, objects)
