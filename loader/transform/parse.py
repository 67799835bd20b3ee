"""Split a chunk into JSON texts with line numbers. Lines that are not valid JSON become rejects."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from loader.duckdb import MalformedError, Session
from loader.events.fields import Path
from loader.events.outcomes import ENDPOINT_REASONS, Reject, unwrap_reject
from loader.events.values import repair
from loader.inputs.chunk import Chunk
from loader.inputs.json_values import split_joined
from loader.transform.envelope import create_envelope
from loader.transform.json_pairs import (
    LONG_NUMBER,
    dump_json,
    find_long_numbers,
    mark_long_numbers,
    parse_json,
    unmark_long_numbers,
)
from loader.transform.limits import check_expanded, check_lookups, parts_to_expand
from loader.transform.shapes import object_pointers

_NUL = re.compile(rb"\\u0000")
#: Fields of a batch call that apply to all of its events (Segment's tracking API, "Batch").
_SHARED = ("context", "integrations", "sentAt", "receivedAt")
_PARTS = ", ".join(f"'{key}', json_extract(line, '/{key}')" for key in _SHARED)
#: A merge patch removes the fields that the event has as null (RFC 7396); those of the batch are added again.
_NULLS = ", ".join(
    f"'{key}', case when json_type(event, '/{key}') = 'NULL' then json_extract(shared, '/{key}') end" for key in _SHARED
)
#: Lines with each batch call replaced by its events; `place` numbers these, and is 0 for other lines.
_EVENTS = f"""
    with bodies as (
        select n, line, json_type(line, '/batch') is not distinct from 'ARRAY'
            and json_extract(line, '/event') is null and json_extract(line, '/type') is null as is_batch
        from lines
    ), shared as (
        select n, line, json_merge_patch('{{}}', json_object({_PARTS})) as shared from bodies where is_batch
    ), events as (
        select n, shared, unnest(json_extract(line, '$.batch[*]')) as event,
            generate_subscripts(json_extract(line, '$.batch[*]'), 1) as place
        from shared
    )
    select n, line, 0 as place from bodies where not is_batch
    union all
    select n, case when shared = '{{}}' or json_type(event) <> 'OBJECT' then event::varchar
        else json_merge_patch(shared, event, json_merge_patch('{{}}', json_object({_NULLS})))::varchar end, place
    from events
    order by n, place
"""


@dataclass(frozen=True, slots=True)
class Lines:
    """The events of a chunk as text, the lines they come from, and the rejects."""

    chunk: Chunk
    #: Columns `n`, the number of an event, and `line`, its JSON text; in order of `n`.
    table: pa.Table
    #: Index of each event's line in the chunk.
    origins: npt.NDArray[np.int64]
    #: Whether each event is a part of its line: of a batch call, or of several values; None if none is.
    expanded: npt.NDArray[np.bool_] | None = None
    rejects: list[Reject] = field(default_factory=list)
    repaired: int = 0
    #: Whether numbers have been replaced by `mark_long_numbers`.
    has_long_numbers: bool = False

    def reject(self, n: int, reason: str, detail: str | None = None) -> Reject:
        """Return a reject of event `n` with its raw line; for an event of a batch call, with the event only."""
        origin = int(self.origins[n])
        is_part = self.expanded is not None and self.expanded[n]
        raw = unmark_long_numbers(self.table["line"][n].as_py()).encode() if is_part else self.chunk.raw(origin)
        if reason in ENDPOINT_REASONS and not is_part and (wrapped := unwrap_reject(raw)):
            raw, detail = wrapped
        return Reject(self.chunk.line(origin), raw, reason, detail)


def decode_lines(chunk: Chunk) -> Lines:
    """Return the lines that are UTF-8, without checking that they are JSON; the others become rejects."""
    try:
        return _lines(chunk, chunk.texts.cast(pa.string()), np.arange(len(chunk.texts)), rejects=[*chunk.rejects])
    except pa.ArrowInvalid:
        bad = {n for n, text in enumerate(chunk.texts.to_pylist()) if not _is_utf8(text)}
    good = np.array([n for n in range(len(chunk.texts)) if n not in bad], np.int64)
    rejects = [Reject(chunk.line(n), chunk.raw(n), "not_utf8") for n in sorted(bad)]
    return _lines(chunk, chunk.texts.take(pa.array(good)).cast(pa.string()), good, rejects=rejects)


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _lines(chunk: Chunk, texts: pa.Array, origins: npt.NDArray[np.int64], **more: object) -> Lines:
    numbers = pa.array(np.arange(len(texts), dtype=np.int32))
    return Lines(chunk, pa.table({"n": numbers, "line": texts}), origins, **more)  # type: ignore[arg-type]


def has_null_escapes(lines: Lines) -> bool:
    r"""Return whether a line may contain `\u0000`, which DuckDB accepts and PostgreSQL does not."""
    return any(_NUL.search(piece.buffers()[2] or b"") for piece in lines.table["line"].chunks)


def validate_lines(lines: Lines, session: Session) -> Lines:
    """Return the lines that are JSON, with unstorable characters replaced; drop blank lines, and reject the others.

    A line of several values that has lost line ends counts as several, if one of them at least is JSON.
    """
    texts: list[str] = lines.table["line"].to_pylist()
    fixed = [repair(text) for text in texts]
    valid = _valid(session, [text for text, _ in fixed])
    joined = {n: parts for n, ok in enumerate(valid) if not ok and len(parts := split_joined(texts[n])) > 1}
    if joined and lines.expanded is None:
        return validate_lines(_separate(lines, joined), session)
    kept = [n for n, ok in enumerate(valid) if ok]
    bad = [n for n, ok in enumerate(valid) if not ok and texts[n].strip(" \t\r\n")]
    return _lines(
        lines.chunk,
        pa.array([fixed[n][0] for n in kept], pa.string()),
        lines.origins[kept],
        expanded=None if lines.expanded is None else lines.expanded[kept],
        rejects=lines.rejects + [lines.reject(n, "not_json") for n in bad],
        repaired=sum(fixed[n][1] for n in kept),
        has_long_numbers=lines.has_long_numbers,
    )


def _separate(lines: Lines, parts: Mapping[int, Sequence[str]]) -> Lines:
    """Return lines of which some, by number, are replaced by their parts."""
    texts = [parts.get(n, [text]) for n, text in enumerate(lines.table["line"].to_pylist())]
    counts = [len(found) for found in texts]
    return _lines(
        lines.chunk,
        pa.array([text for found in texts for text in found], pa.string()),
        np.repeat(lines.origins, counts),
        expanded=np.repeat([n in parts for n in range(len(counts))], counts),
        rejects=lines.rejects,
        has_long_numbers=lines.has_long_numbers,
    )


def _valid(session: Session, texts: list[str]) -> list[bool]:
    candidates = pa.table({"line": pa.array(texts, pa.string())})
    session.register("candidates", candidates)
    return [ok for (ok,) in session.rows("select json_valid(line) from candidates")]


def replace_long_numbers(lines: Lines) -> Lines:
    """Return lines of valid JSON that have their long numbers as strings: DuckDB would round them."""
    texts = lines.table["line"].to_pylist()
    for n in find_long_numbers(_texts(lines)):
        texts[n] = dump_json(mark_long_numbers(parse_json(texts[n])))
    table = lines.table.set_column(1, "line", pa.array(texts, pa.string()))
    return replace(lines, table=table, has_long_numbers=True)


def _texts(lines: Lines) -> pa.StringArray:
    """Return the texts of lines that are not yet expanded."""
    (texts,) = lines.table["line"].chunks
    return texts


def expand_batches(lines: Lines, session: Session) -> Lines:
    """Return the lines with each batch call replaced by its events.

    Raises TooLargeError if these take too much memory with the fields that they share.
    """
    session.register("lines", lines.table)
    check_expanded(_expanded_bytes(session))
    events = pa.concat_tables(_expanded(part, session) for part in parts_to_expand(lines.table))
    origins = lines.origins[events["n"].to_numpy()]
    texts = pc.cast(events["line"], pa.string()).combine_chunks()
    return _lines(
        lines.chunk,
        texts,
        origins,
        expanded=(events["place"].to_numpy() > 0) | _were_expanded(lines, events["n"]),
        rejects=lines.rejects,
        repaired=lines.repaired,
        has_long_numbers=lines.has_long_numbers,
    )


def _expanded(table: pa.Table, session: Session) -> pa.Table:
    session.register("lines", table)
    return session.arrow(_EVENTS)


def _were_expanded(lines: Lines, numbers: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    """Return which of these lines are parts of others."""
    return np.zeros(len(numbers), np.bool_) if lines.expanded is None else lines.expanded[numbers.to_numpy()]


def _expanded_bytes(session: Session) -> int:
    """Return the number of bytes that the shared fields of batch calls take in all of their events."""
    shared = " + ".join(f"coalesce(strlen(json_extract(line, '/{key}')::varchar), 0)" for key in _SHARED)
    ((size,),) = session.rows(
        f"""
        select sum(({shared}) * json_array_length(line, '/batch')) from lines where json_type(line, '/batch') = 'ARRAY'
        """
    )
    return int(size or 0)


@dataclass(frozen=True, slots=True)
class ParsedChunk:
    """The lines of a chunk, and the session with their `envelope`; `objects` are those whose keys make its shapes."""

    lines: Lines
    session: Session
    objects: frozenset[Path]

    def with_nested(self, objects: Iterable[Path]) -> "ParsedChunk":
        """Return the chunk with an envelope that includes the keys of more objects.

        Raises ManyNamesFound if there are too many.
        """
        more = self.objects | frozenset(objects)
        check_lookups(self.lines.table.nbytes, more)
        return self.with_objects(more)

    def with_objects(self, objects: frozenset[Path]) -> "ParsedChunk":
        """Return the chunk with a new envelope that includes the keys of these objects."""
        return _with_envelope(self.lines, self.session, objects)


def parse_chunk(chunk: Chunk, session: Session, objects: frozenset[Path]) -> ParsedChunk:
    """Parse a chunk and create its envelope; lines are checked one by one only if DuckDB finds malformed JSON.

    Raises TooLargeError if it takes too much memory.
    """
    lines = decode_lines(chunk)
    if has_null_escapes(lines):
        lines = validate_lines(lines, session)
    if find_long_numbers(_texts(lines)):
        lines = replace_long_numbers(validate_lines(lines, session))
    try:
        prepared = _with_envelope(lines, session, objects)
    except MalformedError:
        prepared = _with_envelope(validate_lines(lines, session), session, objects)
    if session.exists("verdict = 'no_type' and json_type(line, '/batch') = 'ARRAY'"):
        prepared = _with_envelope(expand_batches(prepared.lines, session), session, objects)
    return prepared


def _with_envelope(lines: Lines, session: Session, objects: frozenset[Path]) -> ParsedChunk:
    session.register("lines", lines.table)
    mark = LONG_NUMBER if lines.has_long_numbers else None
    session.set_text_macros(has_decimal_commas=lines.chunk.has_decimal_commas, mark=mark)
    session.execute(create_envelope(object_pointers(objects), reads_any_form=session.reads_any_form))
    if not session.reads_any_form and session.exists("has_unread_time"):
        session.reads_any_form = True
        return _with_envelope(lines, session, objects)
    return ParsedChunk(lines, session, objects)
