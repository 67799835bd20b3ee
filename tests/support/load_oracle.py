"""A second implementation of the loading rules, in plain Python and one event at a time."""

import json
import re
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import duckdb

from loader.events.identifiers import column_identifier, snake, table_identifier
from loader.schema.event_tables import STANDARD
from tests.support.load_oracle_values import (
    Broken,
    Number,
    Pairs,
    converted,
    kind_of,
    moment,
    parse,
    repaired,
    text_of,
)

Path = tuple[str, ...]

FIELDS = ("type", "event", "messageId", "userId", "anonymousId")
TIMES = ("originalTimestamp", "timestamp", "sentAt", "receivedAt")
#: Other fields have no column and are discarded.
WITHOUT_COLUMN = ("version", "channel", "integrations", "writeKey", "_metadata", "projectId")
KNOWN = {*FIELDS, *TIMES, *WITHOUT_COLUMN, "context", "properties"}
#: Properties that Selligent's and Segment's documents name: text in every table.
DOCUMENTED = (
    *("email_id", "email_subject", "campaign_id", "campaign_name"),
    *("link_id", "link_name", "link_url", "list_id", "list_name"),
)
CALLS = ("identify", "page", "screen", "group", "alias")
#: The greatest difference of clocks by which times are corrected, in microseconds.
DAY = 86_400 * 10**6
#: An object at this depth is stored as JSON text.
DEPTH = 16
#: Escapes of characters that PostgreSQL cannot store, as they occur in the tests.
ESCAPES = re.compile(r"(\\\\)|\\u(?:0000|d800)")


def name_of(path: Path) -> str:
    """Return the name of a property: its path without `properties`."""
    return ".".join(path[1:] if path[0] == "properties" and len(path) > 1 else path)


@dataclass(frozen=True)
class Event:
    """An event to load: the envelope as stored, its values, and values that no column can take."""

    table: str
    row: Mapping[str, Any]
    leaves: list[tuple[Path, Any]]
    discarded: list[tuple[str, Any, str]]
    line: bytes

    @property
    def key(self) -> tuple[int | None, str]:
        return self.row["original_timestamp"], self.row["id"]

    def meetings(self) -> dict[str, list[tuple[Path, Any]]]:
        """Return the values by column, the stored one first: it is spelled like the column, or first in order."""
        found: dict[str, list[tuple[Path, Any]]] = {}
        for path, value in self.leaves:
            if column := column_of(path):
                found.setdefault(column, []).append((path, value))
        return {
            column: sorted(meeting, key=lambda item, own=column: (name_of(item[0]) != own, item[0]))  # type: ignore[misc]
            for column, meeting in found.items()
        }

    def placed(self, kinds: Mapping[str, str]) -> tuple[dict[str, Any], list[tuple[str, Any, str]]]:
        """Return the row in a table with these columns, and the discarded values."""
        row, discarded = dict(self.row), list(self.discarded)
        for path, value in self.leaves:
            if column_of(path) is None:
                named = snake(".".join(path[1:]))
                discarded.append((name_of(path), value, "reserved" if named else "nameless"))
        for column, ((path, value), *others) in self.meetings().items():
            row[column] = converted(value, kinds[column])
            if row[column] is None:
                discarded.append((name_of(path), value, "misfit"))
            discarded += [(name_of(other), lost, "collision") for other, lost in others]
        return row, discarded


def column_of(path: Path) -> str | None:
    """Return the column of a value, None if it cannot have one."""
    column = column_identifier(name_of(path)) if snake(".".join(path[1:])) else None
    is_reserved = path[0] == "properties" and column and (column in STANDARD or column.startswith("context_"))
    return None if is_reserved else column


def leaves(path: Path, value: Any) -> Iterator[tuple[Path, Any]]:
    """Yield the values below a path, without nulls and empty objects; of a repeated name, only the first value."""
    if isinstance(value, Pairs) and (len(path) < DEPTH or not value):
        for key, inside in firsts(value).items():
            yield from leaves((*path, key), inside)
    elif value is not None:
        yield path, value


def repetitions(path: Path, value: Any) -> Iterator[tuple[Path, Any]]:
    """Yield values whose name is repeated within an object, down to the depth of columns."""
    if not isinstance(value, Pairs) or len(path) >= DEPTH:
        return
    seen = set()
    for key, inside in value:
        if key in seen:
            yield (*path, key), inside
        elif path or key in ("context", "properties"):
            yield from repetitions((*path, key), inside)
        seen.add(key)


def firsts(pairs: Pairs) -> dict[str, Any]:
    return dict(reversed(pairs))


def is_nothing(value: Any) -> bool:
    return value is None or (isinstance(value, Pairs) and not value)


def is_empty_list(value: Any) -> bool:
    return isinstance(value, list) and not isinstance(value, Pairs) and not value


def is_odd(value: Any) -> bool:
    return isinstance(value, bool | list)


def verdict(fields: Any, received: int | None) -> str | None:
    """Return the first reason why an event is not loaded, None if it is loaded."""
    if not isinstance(fields, dict):
        return "not_object"
    call, event, *ids = [fields.get(name) for name in FIELDS]
    body = [fields.get("context"), fields.get("properties")]
    reasons = {
        "no_type": call is None and event is None,
        "wrong_kind": is_odd(call) or is_odd(event) or isinstance(event, Number) or any(map(is_odd, ids)),
        "ignored": call in CALLS,
        "unknown_type": call not in (None, "track"),
        "no_event": event in (None, ""),
        "no_identity": all(name in (None, "") for name in ids[1:]),
        "no_time": received is None,
        "id_too_long": len(text_of(ids[0]) or "") > 100,
    }
    late = {
        "wrong_kind": any(
            part is not None and not is_empty_list(part) and not isinstance(part, Pairs) for part in body
        ),
        "nameless_event": not isinstance(event, str) or table_identifier(event) is None,
    }
    return next((reason for reason, so in [*reasons.items(), *late.items()] if so), None)


def times(fields: Mapping[str, Any]) -> dict[str, int | None]:
    """Return the times of an event as stored in its row."""
    original, stamp, sent, received = [moment(fields.get(name)) for name in TIMES]
    computed = fields.get("originalTimestamp") is not None
    happened = original if computed else stamp
    received = next((time for time in (received, sent, happened) if time is not None), None)
    corrected = happened
    if happened is not None and sent is not None and received is not None:
        moved = received - (sent - happened)
        corrected = moved if -62135596800000000 <= moved <= 253402300799999999 else happened
    found = [stamp if computed else None, corrected, received]
    if sent is not None and received is not None and abs(sent - received) > DAY:
        is_plausible = happened is not None and 978307200 * 10**6 <= happened <= received + DAY
        found = [happened if is_plausible else received]
    return {
        "original_timestamp": happened,
        "sent_at": sent,
        "received_at": received,
        "timestamp": next((time for time in found if time is not None), None),
    }


def has_suspect_clock(row: Mapping[str, Any]) -> bool:
    """Return whether the clocks of sender and receiver differ by more than a day, or an event is later than that."""
    sent, received = row["sent_at"], row["received_at"]
    later = [time for time in (sent, row["original_timestamp"], row["timestamp"]) if time is not None]
    return any(time - received > DAY for time in later) or (sent is not None and received - sent > DAY)


@dataclass
class Model:
    """The stored rows, rejects and discarded values of the chunks loaded so far."""

    stored: dict[tuple[int | None, str], Event] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    #: File, line, original bytes, reason.
    rejects: Counter[tuple[str, int, bytes, str]] = field(default_factory=Counter)
    #: Types that a column can have, by table and column.
    kinds: dict[tuple[str, str], set[str]] = field(default_factory=dict)

    def load(self, uri: str, data: bytes, size: int) -> None:
        """Load a file in chunks of at least this number of bytes, each up to the end of a line."""
        chunk: list[tuple[int, bytes]] = []
        for number, line in enumerate(re.findall(rb"[^\n]*\n|[^\n]+$", data), 1):
            chunk.append((number, line))
            if sum(len(line) for _, line in chunk) >= size:
                self._load_chunk(uri, chunk)
                chunk = []
        self._load_chunk(uri, chunk)

    def _load_chunk(self, uri: str, chunk: list[tuple[int, bytes]]) -> None:
        waiting: list[tuple[Event, int, bytes]] = []
        for number, line in chunk:
            for value, raw, text in self._values(line):
                fields = firsts(value) if isinstance(value, Pairs) else value
                moments = times(fields) if isinstance(fields, dict) else {"received_at": None}
                reason = str(value) if isinstance(value, Broken) else verdict(fields, moments["received_at"])
                if reason is None:
                    waiting.append((_event(value, fields, moments, text), number, raw))
                else:
                    self._judge(uri, number, raw, reason)
        seen: set[tuple[int | None, str]] = set()
        for event, number, raw in sorted(waiting, key=lambda item: (item[0].row["received_at"], item[0].line)):
            if event.key not in seen:  # duplicates of stored events add columns too
                self._see(event)
            seen.add(event.key)
            first = self.stored.setdefault(event.key, event)
            if first is event:
                self.counts["events_read"] += 1
                self.counts["events_loaded"] += 1
                self.counts["events_clock_suspect"] += has_suspect_clock(event.row)
            else:
                self._judge(uri, number, raw, "duplicate" if first.table == event.table else "key_conflict")

    def _values(self, line: bytes) -> Iterator[tuple[Any, bytes, bytes]]:
        """Yield each event of a line with its original bytes and line number."""
        raw = line.removesuffix(b"\n").removesuffix(b"\r").removeprefix(BOM_UTF8)
        if not raw.strip(b" \t\r") or raw == b"[]":
            return
        if raw == b"{}{}":  # two events that have lost the line end between them
            raw = b"{}"
            yield Pairs(), raw, raw
        try:
            value, count = repaired(parse(raw.decode()))
        except UnicodeDecodeError:
            yield Broken("not_utf8"), raw, raw
            return
        except ValueError:
            yield Broken("not_json"), raw, raw
            return
        self.counts["values_repaired"] += count
        fields = firsts(value) if isinstance(value, Pairs) else {}
        batch = fields.get("batch")
        if isinstance(batch, list) and not isinstance(batch, Pairs) and "type" not in fields and "event" not in fields:
            plain = json.loads(line)["batch"]
            yield from (
                (event, json.dumps(said, separators=(",", ":")).encode(), line)
                for event, said in zip(batch, plain, strict=True)
            )
        else:
            yield value, raw, line

    def _judge(self, uri: str, number: int, raw: bytes, reason: str) -> None:
        self.counts["events_read"] += 1
        if reason in ("ignored", "duplicate"):
            self.counts[f"events_{reason}"] += 1
        else:
            self.counts["events_rejected"] += 1
            self.rejects[uri, number, raw, reason] += 1

    def _see(self, event: Event) -> None:
        for column, meeting in event.meetings().items():
            tables = ("tracks", event.table) if column.startswith("context_") else (event.table,)
            for table in tables:
                kinds = {"text"} if column in DOCUMENTED else {kind_of(value) for _, value in meeting}
                self.kinds.setdefault((table, column), set()).update(kinds)


def _event(value: Pairs, fields: dict[str, Any], moments: Mapping[str, int | None], line: bytes) -> Event:
    table = table_identifier(fields["event"])
    assert table
    row = {
        "id": text_of(fields.get("messageId")) or derived(line),
        "anonymous_id": text_of(fields.get("anonymousId")),
        "user_id": text_of(fields.get("userId")),
        "event": table,
        "event_text": fields["event"],
        **moments,
    }
    unread = [
        (name, fields[name], "unread_time")
        for name in TIMES
        if not is_nothing(fields.get(name)) and moment(fields[name]) is None
    ]
    unknown = [
        (key, inside, "unknown_field") for key, inside in fields.items() if key not in KNOWN and not is_nothing(inside)
    ]
    unknown += [(name, [], "empty_list") for name in ("context", "properties") if is_empty_list(fields.get(name))]
    repeated = [(name_of(path), inside, "repeated_key") for path, inside in repetitions((), value)]
    parts = {name: fields.get(name) for name in ("context", "properties") if not is_empty_list(fields.get(name))}
    found = [leaf for name, part in parts.items() for leaf in leaves((name,), part)]
    return Event(table, row, found, unread + unknown + repeated, ESCAPES.sub(_escaped, line.decode()).encode())


def _escaped(match: re.Match[str]) -> str:
    return match[1] or "\\ufffd"


def derived(line: bytes) -> str:
    """Return the id that is derived for an event without one."""
    text = ESCAPES.sub(_escaped, line.decode())
    ((found,),) = duckdb.execute("select 'derived-' || md5(json(?::varchar))", [text]).fetchall()
    return str(found)
