"""Events whose names multiply: many spellings of one column, many columns, many shapes, and deep nesting."""

import json
import random
from collections.abc import Iterator
from typing import Any

from tests.support.loading import Event, event

#: Bytes of an event that the endpoint accepts.
EVENT_BYTES = 32 << 10
SEPARATORS = ("_", ".", "-", " ", "/", "~", "__", "..", "é", "")


def spellings(count: int, chance: random.Random, word: str = "abcdefgh") -> list[str]:
    """Return distinct names, most of which have the same column."""
    found: dict[str, None] = {}
    while len(found) < count:
        separators = (chance.choice(SEPARATORS[:-1]) for _ in word)
        found["".join(letter + separator for letter, separator in zip(word, separators, strict=True))] = None
    return list(found)


def spelled_events(count: int, names: int, seed: int = 1, start: int = 0) -> Iterator[Event]:
    """Yield events, each with this many spellings of the name of one column."""
    chance = random.Random(seed)
    for n in range(start, start + count):
        yield event(messageId=f"spelled{n}", properties=dict.fromkeys(spellings(names, chance), n))


def nested_events(count: int, names: int, seed: int = 1, start: int = 0) -> Iterator[Event]:
    """Yield events with spellings of nested names, which meet in columns in different depths, as `a.b`, `a_b`, `A`."""
    chance = random.Random(seed)
    for n in range(start, start + count):
        yield event(
            messageId=f"nested{n}", properties=_nested(chance, names, 6), context=_nested(chance, names // 8, 6)
        )


def _nested(chance: random.Random, names: int, depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    while names > 0:
        below = chance.randint(1, max(names // 3, 1))
        name = chance.choice("abcdABCD") + chance.choice(SEPARATORS) + chance.choice(("", "a", "B", "c", "1"))
        if depth and chance.random() < 0.5:
            found[name + chance.choice(("", ".", "_", "-"))] = _nested(chance, below, depth - 1)
        else:
            found[name + chance.choice(SEPARATORS) * chance.randint(0, 3)] = chance.choice((below, "x", True, [1]))
        names -= below
    return found


def wide_events(count: int, names: int, seed: int = 1) -> Iterator[Event]:
    """Yield events with names of which no two have the same column."""
    chance = random.Random(seed)
    for n in range(count):
        yield event(messageId=f"wide{n}", properties={f"p{chance.randrange(10**9)}": n for _ in range(names)})


def batch_body(events: Iterator[Event], size: int = 468_000) -> bytes:
    """Return the body of a batch call of at most `size` bytes."""
    taken: list[str] = []
    for text in map(json.dumps, events):
        size -= len(text) + 2
        if size < 20:
            break
        taken.append(text)
    return f'{{"batch":[{",".join(taken)}]}}\n'.encode()
