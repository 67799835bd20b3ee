"""Remove a person from the bytes of events: a whole event of theirs, or where another event names their address."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from loader.events.identities import find_identities
from loader.forwarding.eligibility import event_names
from loader.integrations.event import read_events

#: Other spellings of the characters of an address, in URLs and in JSON.
_SPELLINGS = {"@": r"(?:@|%40|%2540|\\u0040)", "+": r"(?:\+|%2b|%252b|\\u002b)", ".": r"(?:\.|%2e|%252e|\\u002e)"}
#: Escaped letters of JSON, behind which any name can hide.
_ESCAPED = rb"\\u00[2-7]"
_RUN = re.compile("[a-z0-9]+", re.IGNORECASE)


@dataclass(frozen=True)
class Scrubber:
    """The identities of some people, each with the number of its person."""

    owners: dict[str, int]
    _candidates: re.Pattern[bytes] | None = field(init=False)
    _addresses: re.Pattern[bytes] | None = field(init=False)

    def __post_init__(self) -> None:
        addresses = [name for name in self.owners if "@" in name]
        object.__setattr__(self, "_candidates", _candidates(self.owners))
        object.__setattr__(self, "_addresses", _any([address_pattern(name) for name in addresses]))

    def scrub(self, raw: bytes) -> tuple[int | None, bytes | None]:
        """Return the number of the person whom an event names, and the event without them.

        The event is None if it is theirs, or not readable and names them. The number is None if it names nobody.
        """
        if self._candidates and not self._candidates.search(raw):
            return None, raw
        events = read_events(raw)
        for event in events:
            for name in event_names(event):
                if name in self.owners:
                    return self.owners[name], None
        mentioned = sorted(find_identities(raw) & self.owners.keys())
        if events:
            mentioned = [name for name in mentioned if "@" in name]
        if not mentioned:
            return None, raw
        masked = self.mask(raw)
        is_clean = bool(events) and not self.owners.keys() & {name for name in find_identities(masked) if "@" in name}
        return self.owners[mentioned[0]], masked if is_clean else None

    def mask(self, raw: bytes) -> bytes:
        """Return bytes of the same length with the addresses replaced by asterisks, in any spelling."""
        return self._addresses.sub(lambda found: b"*" * len(found[0]), raw) if self._addresses else raw


def address_pattern(address: str) -> str:
    """Return a regular expression for an address in any spelling, for Python and for PostgreSQL.

    >>> address_pattern("a+b@x.y")
    'a(?:\\\\+|%2b|%252b|\\\\\\\\u002b)b(?:@|%40|%2540|\\\\\\\\u0040)x(?:\\\\.|%2e|%252e|\\\\\\\\u002e)y'
    """
    return "".join(_SPELLINGS.get(letter, re.escape(letter)) for letter in address)


def _any(patterns: Iterable[str]) -> re.Pattern[bytes] | None:
    found = list(patterns)
    return re.compile("|".join(found).encode(), re.IGNORECASE) if found else None


def _candidates(names: Iterable[str]) -> re.Pattern[bytes] | None:
    """Return a quick test for bytes that may have one of some names, by a run of letters in it; None if all may."""
    runs = set()
    for name in names:
        found = _RUN.findall(name.rpartition("@")[0] or name) if name.isascii() and "xn--" not in name else []
        if not found:
            return None
        runs.add(max(found, key=len))
    return re.compile(b"|".join([_ESCAPED, *(run.encode() for run in sorted(runs))]), re.IGNORECASE)
