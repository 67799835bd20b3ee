"""The fields of a track call, the columns they fill, and paths to the values in `context` and `properties`."""

from collections.abc import Mapping, Sequence

#: Keys from the top of an event down to a value.
Path = tuple[str, ...]

CONTEXT, PROPERTIES = "context", "properties"
#: Maximum depth of a path. Deeper objects are stored as JSON text, which limits the work that one event can cause.
MAX_DEPTH = 16

#: Columns of every event table, in table order, and the fields that fill them (Segment, "Common Fields").
COLUMN_FIELDS = {
    "id": "messageId",
    "anonymous_id": "anonymousId",
    "user_id": "userId",
    "event": "event",
    "event_text": "event",
    "original_timestamp": "originalTimestamp",
    "sent_at": "sentAt",
    "received_at": "receivedAt",
    "timestamp": "timestamp",
}
#: Fields that are times. An invalid one is discarded, and the event is loaded without it.
TIME_FIELDS = ("originalTimestamp", "timestamp", "sentAt", "receivedAt")
#: Fields that Segment's warehouses do not store.
NOT_COLUMNS = frozenset({"type", "version", "channel", "integrations", "writeKey", "_metadata", "projectId"})
#: Fields of the tracking API. Any other field of an event is a discarded value.
KNOWN_FIELDS = NOT_COLUMNS | {*COLUMN_FIELDS.values(), CONTEXT, PROPERTIES}


def pointer(path: Path) -> str:
    """Return the JSON pointer of a path (RFC 6901).

    >>> pointer(("properties", "a/b", "~"))
    '/properties/a~1b/~0'
    """
    return "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in path)


def property_name(path: Path) -> str:
    """Return the dotted name of a path, as in the table `identifiers`: properties without their prefix.

    >>> property_name(("properties", "product", "sku")), property_name(("context", "traits", "email"))
    ('product.sku', 'context.traits.email')
    """
    return ".".join(path[1:] if path[:1] == (PROPERTIES,) and path[1:] else path)


def leaves(keys: Mapping[Path, Sequence[str]]) -> set[Path]:
    """Return the paths of the values in a shape. `keys` maps the path of each non-empty object to its keys.

    >>> sorted(leaves({(): ["context", "type"], ("context",): ["ip", "traits"], ("context", "traits"): ["email"]}))
    [('context', 'ip'), ('context', 'traits', 'email')]
    """
    return {(*path, key) for path, inside in keys.items() if path for key in inside} - set(keys)
