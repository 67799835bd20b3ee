"""Shapes: which keys a chunk's events have → which columns they become; decided per shape, never per event."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from loader.names import column_identifier, is_context, snake
from loader.tables import STANDARD
from loader.values import quote

#: Keys from the top of an event down to a value.
Path = tuple[str, ...]

CONTEXT, PROPERTIES = "context", "properties"
#: Objects deeper than this stay JSON text, so that a hostile event cannot make a chunk's work grow without end.
MAX_DEPTH = 16

NAMELESS, RESERVED = "nameless", "reserved"


@dataclass(frozen=True, slots=True)
class Columns:
    """What becomes of one table's values: columns with the paths that fill them, and paths that have no column."""

    paths: Mapping[str, Sequence[Path]]
    discarded: Mapping[Path, str]


def pointer(path: Path) -> str:
    """Return the JSON pointer of a path (RFC 6901).

    >>> pointer(("properties", "a/b", "~"))
    '/properties/a~1b/~0'
    """
    return "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in path)


def guard(path: Path) -> str:
    """Return SQL that holds where a path leads through objects only, empty if it always does.

    A pointer's digits lead into arrays too.

    >>> guard(("properties", "list", "0"))
    "json_type(line, '/properties/list') = 'OBJECT'"
    """
    doubtful = [path[:i] for i, key in enumerate(path) if key.isdigit()]
    return " and ".join(f"json_type(line, {quote(pointer(above))}) = 'OBJECT'" for above in doubtful)


def original(path: Path) -> str:
    """Return the name of a path as the map of names has it: properties without their prefix.

    >>> original(("properties", "product", "sku")), original(("context", "traits", "email"))
    ('product.sku', 'context.traits.email')
    """
    return ".".join(path[1:] if path[:1] == (PROPERTIES,) and path[1:] else path)


def leaves(keys: Mapping[Path, Sequence[str]]) -> set[Path]:
    """Return the paths of the values in one shape: `keys` has the keys of every object that has some.

    >>> sorted(leaves({(): ["context", "type"], ("context",): ["ip", "traits"], ("context", "traits"): ["email"]}))
    [('context', 'ip'), ('context', 'traits', 'email')]
    """
    return {(*path, key) for path, inside in keys.items() if path for key in inside} - set(keys)


def columns(paths: Iterable[Path]) -> Columns:
    """Return the columns for the paths of one table's events.

    Where several paths meet in a column, the first that has a value fills it: the one spelled like the column, then
    the others in order, whatever the order of the events. Names of standard columns, and `context_…` among the
    properties, are Segment's.
    """
    found: dict[str, list[Path]] = {}
    discarded: dict[Path, str] = {}
    for path in sorted(paths):
        identifier = column_identifier(original(path)) if snake(".".join(path[1:])) else None
        if identifier is None:
            discarded[path] = NAMELESS
        elif _reserved(identifier, path):
            discarded[path] = RESERVED
        else:
            found.setdefault(identifier, []).append(path)
    for identifier, meeting in found.items():
        meeting.sort(key=lambda path: original(path) != identifier)
    return Columns(found, discarded)


def _reserved(identifier: str, path: Path) -> bool:
    return path[0] == PROPERTIES and (identifier in STANDARD or is_context(identifier))
