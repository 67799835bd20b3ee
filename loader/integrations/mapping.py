"""Apply a mapping to events: which events and properties are sent, under which names, with which constants.

A mapping is a TOML file, all parts of which are optional:

    only_events = ["Email Delivered", "Email Opened"]    # or except_events
    only_properties = ["campaign_id", "campaign_name"]   # or except_properties

    [rename_events]
    "Email Opened" = "Opened an e-mail"

    [rename_properties]
    campaign_name = "campaign"

    [constants]
    source = "selligent"

Selections go by the names as they were sent. Constants are added as properties and replace properties of the same name.
Without `--send-personal-data`, e-mail addresses, IP addresses and user agents are left out.
"""

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from msgspec import Raw

from loader.errors import UsageError
from loader.events.fields import CONTEXT, PROPERTIES
from loader.integrations.event import Event, decode_fields, encode

#: Names of properties and traits with personal data, in lower case without `_` and `-`.
PERSONAL = frozenset({"email", "emailaddress", "ip", "ipaddress", "useragent", "mail", "recipient", "recipientemail"})
#: Objects in the context that are searched for such names.
_TRAITS = "traits"
_LISTS = ("only_events", "except_events", "only_properties", "except_properties")
_TABLES = ("rename_events", "rename_properties", "constants")


@dataclass(frozen=True, slots=True)
class EventMapping:
    """A checked mapping. Empty parts change nothing."""

    only_events: frozenset[str] | None = None
    except_events: frozenset[str] = frozenset()
    only_properties: frozenset[str] | None = None
    except_properties: frozenset[str] = frozenset()
    rename_events: Mapping[str, str] | None = None
    rename_properties: Mapping[str, str] | None = None
    constants: Mapping[str, Raw] | None = None
    send_personal_data: bool = False

    def apply(self, event: Event) -> Event | None:
        """Return the event as it is sent; None if it is not one of those to send."""
        name = event.name
        if (self.only_events is not None and name not in self.only_events) or name in self.except_events:
            return None
        if self.send_personal_data and not self._changes_properties and not self.rename_events:
            return event
        changed: dict[str, Any] = {}
        if self.rename_events and name in self.rename_events:
            changed["event"] = self.rename_events[name]
        self._change_properties(event, changed)
        if not self.send_personal_data:
            _change_identities(event, changed)
        return event.replace(**changed) if changed else event

    @property
    def _changes_properties(self) -> bool:
        return bool(
            self.only_properties is not None or self.except_properties or self.rename_properties or self.constants
        )

    def _change_properties(self, event: Event, changed: dict[str, Any]) -> None:
        found = decode_fields(event.fields[PROPERTIES]) if PROPERTIES in event.fields else {}
        if found is None or not (self._changes_properties or any(map(is_personal, found))):
            return
        kept = {name: value for name, value in found.items() if self._is_sent(name)}
        if self.rename_properties:
            kept = {self.rename_properties.get(name, name): value for name, value in kept.items()}
        if self.constants:
            kept |= self.constants
        if kept != found:
            changed[PROPERTIES] = kept

    def _is_sent(self, name: str) -> bool:
        if (self.only_properties is not None and name not in self.only_properties) or name in self.except_properties:
            return False
        return self.send_personal_data or not is_personal(name)


def _change_identities(event: Event, changed: dict[str, Any]) -> None:
    """Leave personal data out of the context and the traits, and replace ids that are addresses by their hashes."""
    for place in (CONTEXT, _TRAITS):
        if place in event.fields and (fields := decode_fields(event.fields[place])) is not None:
            kept = without_personal(fields)
            if place == CONTEXT and _TRAITS in kept and (traits := decode_fields(kept[_TRAITS])) is not None:
                inner = without_personal(traits)
                if inner is not traits:
                    kept = {**kept, _TRAITS: Raw(encode(inner))}
            if kept is not fields:
                changed[place] = kept
    for name in ("userId", "anonymousId", "previousId"):
        raw = event.fields.get(name)
        if raw is not None and b"@" in bytes(raw):
            changed[name] = hash_address(event.text(name) or "")


def without_personal(fields: dict[str, Raw]) -> dict[str, Raw]:
    """Return fields without those whose names are names of personal data; the same object if there are none."""
    if not any(map(is_personal, fields)):
        return fields
    return {name: value for name, value in fields.items() if not is_personal(name)}


@lru_cache(4096)  # senders use few names, each of them in every event
def is_personal(name: str) -> bool:
    """Return whether a property or trait has personal data, by its name.

    >>> [is_personal(name) for name in ("email", "user_agent", "IP", "email_id", "campaign_name")]
    [True, True, True, False, False]
    """
    return name.lower().replace("_", "").replace("-", "") in PERSONAL


def hash_address(text: str) -> str:
    """Return what is sent instead of an id that is an e-mail address: the same for each spelling of the address.

    >>> hash_address(" Anna@Example.com") == hash_address("anna@example.com"), hash_address("a@b.c")[:14]
    (True, 'sha256-d648b24')
    """
    return f"sha256-{hashlib.sha256(text.strip().casefold().encode()).hexdigest()}"


def read_mapping(text: str | None, *, send_personal_data: bool = False) -> EventMapping:
    """Return the mapping of a TOML text; without a text, the default one.

    Raises UsageError for a text that is not TOML, has unknown parts, or parts that contradict each other.
    """
    try:
        parts = tomllib.loads(text or "")
    except tomllib.TOMLDecodeError as exc:
        raise UsageError(f"the mapping is not TOML: {exc}") from exc
    if unknown := sorted(parts.keys() - {*_LISTS, *_TABLES}):
        raise UsageError(f"the mapping has {unknown[0]!r}; it can have {', '.join((*_LISTS, *_TABLES))}")
    lists: dict[str, Any] = {name: _names(name, parts[name]) for name in _LISTS if name in parts}
    tables: dict[str, Any] = {name: _table(name, parts[name]) for name in _TABLES if name in parts}
    for what in ("events", "properties"):
        if f"only_{what}" in lists and f"except_{what}" in lists:
            raise UsageError(f"the mapping has only_{what} and except_{what}; write one of them")
        if not lists.get(f"only_{what}", {""}):
            raise UsageError(f"only_{what} of the mapping is empty, so nothing would be sent")
        targets = list(tables.get(f"rename_{what}", {}).values())
        if what == "properties" and len(set(targets)) < len(targets):
            raise UsageError("rename_properties of the mapping gives one name to two properties")
    if "constants" in tables:
        tables["constants"] = {name: _constant(name, value) for name, value in tables["constants"].items()}
    return EventMapping(**lists, **tables, send_personal_data=send_personal_data)


def _names(part: str, value: Any) -> frozenset[str]:
    if not isinstance(value, list) or not all(isinstance(name, str) and name for name in value):
        raise UsageError(f'{part} of the mapping is not a list of names; write {part} = ["…", "…"]')
    return frozenset(value)


def _table(part: str, value: Any) -> dict[str, Any]:
    is_table = isinstance(value, dict)
    if not is_table or (part != "constants" and not all(isinstance(name, str) and name for name in value.values())):
        raise UsageError(f'{part} of the mapping is not a table; write [{part}] and lines like "old" = "new"')
    return dict(value)


def _constant(name: str, value: Any) -> Raw:
    if not isinstance(value, str | int | float | bool):
        raise UsageError(f"the constant {name!r} of the mapping is not a text, a number, true or false")
    return Raw(encode(value))
