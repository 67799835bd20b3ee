"""Repetitions: names that come twice in an object of an event, of which DuckDB only ever shows the first."""

import json
from collections.abc import Iterator
from typing import Any

from loader.shape import CONTEXT, MAX_DEPTH, PROPERTIES, Path


class _Pairs(list[tuple[str, Any]]):
    """An object as JSON has it."""


class _Number(str):
    """A number as it is spelled."""


def find_repetitions(line: str) -> list[tuple[Path, str]]:
    """Return the values, as JSON, whose name came before in the same object: only the first is the property's.

    >>> find_repetitions('{"context": {"a": 1, "b": {"c": 2, "c": [1e400]}, "a": null}}')
    [(('context', 'b', 'c'), '[1e400]'), (('context', 'a'), 'null')]
    """
    try:
        event = json.loads(
            line, object_pairs_hook=_Pairs, parse_int=_Number, parse_float=_Number, parse_constant=_Number
        )
        return list(_walk((), event))
    except RecursionError:
        return [((), line)]


def _walk(path: Path, pairs: _Pairs) -> Iterator[tuple[Path, str]]:
    """Go into the objects that have columns of their own; the others are kept as they are."""
    seen = set()
    for key, value in pairs:
        below = (*path, key)
        if key in seen:
            yield below, _dump(value)
        elif isinstance(value, _Pairs) and below[0] in {CONTEXT, PROPERTIES} and len(below) < MAX_DEPTH:
            yield from _walk(below, value)
        seen.add(key)


def _dump(value: Any) -> str:
    if isinstance(value, _Pairs):
        return "{" + ", ".join(f"{_dump(key)}: {_dump(inside)}" for key, inside in value) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_dump, value)) + "]"
    return str(value) if isinstance(value, _Number) else json.dumps(value, ensure_ascii=False)
