"""Headings: the names of a table's columns → the places of their values in an event."""

from collections.abc import Sequence

from loader.errors import InputError
from loader.shape import CONTEXT, PROPERTIES, Path

#: Columns of the tables, and the fields of an event they come from.
FIELDS = {
    "id": "messageId",
    "anonymous_id": "anonymousId",
    "user_id": "userId",
    "event_text": "event",
    "event": "event",
    "original_timestamp": "originalTimestamp",
    "sent_at": "sentAt",
    "received_at": "receivedAt",
    "timestamp": "timestamp",
}
TIMES = ("originalTimestamp", "timestamp", "sentAt", "receivedAt")
#: Fields that only Segment's JSON has: where one of these is, names are those of the JSON.
_SEGMENT = {"messageId", "anonymousId", "userId", "originalTimestamp", "sentAt", "receivedAt", CONTEXT, PROPERTIES}
_OTHERS = {"type", "version", "channel", "integrations", "writeKey", "_metadata", "projectId"}
#: When a row was loaded into the table it comes from.
_OURS = "uuid_ts"
#: What a table must have, one of each, and how that is told.
_NEEDED = (
    ({"userId", "anonymousId"}, "user_id (userId) or anonymous_id (anonymousId)"),
    ({"event", "type"}, "event_text or event"),
    (set(TIMES), "one of original_timestamp, timestamp, sent_at, received_at (originalTimestamp, …)"),
)


def read_headings(names: Sequence[str], uri: str) -> list[Path | None]:
    """Return the path of each column in an event; None for one that is not loaded.

    Raises InputError where a table of events would have columns that are not there.

    >>> read_headings(["user_id", "event", "sent_at", "context_ip", "revenue"], "x")[2:]
    [('sentAt',), ('context', 'ip'), ('properties', 'revenue')]
    >>> read_headings(["userId", "event", "timestamp", "context.traits.email", "properties"], "x")[3:]
    [('context', 'traits', 'email'), ('properties',)]
    """
    clean = [name.strip() for name in names]
    is_json = any(name.partition(".")[0] in _SEGMENT for name in clean)
    paths: list[Path | None] = []
    for name in clean:
        path = _path(name, is_json, has_text="event_text" in clean)
        if path and path in paths:
            raise InputError(f"{uri!r} has two columns for {'.'.join(path)!r}, one is {name!r}; rename it")
        paths.append(path)
    missing = [told for some, told in _NEEDED if not any((field,) in paths for field in some)]
    if missing:
        found = ", ".join(name for name in clean[:20])
        raise InputError(f"{uri!r} has no column {', nor '.join(missing)}; its columns are {found}")
    return paths


def _path(name: str, is_json: bool, *, has_text: bool) -> Path | None:
    if name in {"", _OURS} or (name == "event" and has_text):
        return None
    if is_json and (name in _SEGMENT | _OTHERS or name.partition(".")[0] in {CONTEXT, PROPERTIES}):
        return tuple(name.split("."))
    if name in FIELDS:
        return (FIELDS[name],)
    if name.startswith(f"{CONTEXT}_"):
        return CONTEXT, name.removeprefix(f"{CONTEXT}_")
    return PROPERTIES, name
