"""Where the value of a field comes from: a field of a call, a trait, a property, a value of the context, a constant."""

import json
from dataclasses import dataclass

from msgspec import Raw

from loader.errors import UsageError
from loader.events.fields import CONTEXT, PROPERTIES
from loader.integrations.event import Event, decode_fields, encode

#: Fields of a call that can be named. `event` is the name of a track call, and the type of another call.
PLAIN = frozenset({"userId", "anonymousId", "previousId", "groupId", "messageId", "type", "event", "name", "timestamp"})
_TRAITS = "traits"
_OBJECTS = frozenset({_TRAITS, PROPERTIES, CONTEXT})


@dataclass(frozen=True, slots=True)
class Source:
    """The path to a value in a call, or a constant."""

    path: tuple[str, ...]
    constant: Raw | None = None

    def read(self, event: Event) -> Raw | None:
        """Return the value as JSON: null, true, false, a number as it was spelled, or a text; None if it is missing.

        Objects and arrays are sent as texts of JSON.
        """
        if self.constant is not None:
            return self.constant
        if len(self.path) == 1:
            return _read_plain(event, self.path[0])
        found = _walk(event.fields, self.path)
        if found is None and self.path[0] == _TRAITS:  # calls other than identify and group have them in the context
            found = _walk(event.fields, (CONTEXT, *self.path))
        if found is not None and bytes(found)[:1] in b"{[":
            return Raw(encode(bytes(found).decode()))
        return found


def _read_plain(event: Event, name: str) -> Raw | None:
    if name == "event":
        return Raw(encode(event.name or event.call))
    text = {"type": event.call, "messageId": event.message_id, "timestamp": event.timestamp}.get(name, "")
    text = event.text(name) if text == "" else text
    return Raw(encode(text)) if text else None


def _walk(fields: object, path: tuple[str, ...]) -> Raw | None:
    for name in path[:-1]:
        raw = fields.get(name) if isinstance(fields, dict) else None
        fields = decode_fields(raw) if raw is not None else None
    return fields.get(path[-1]) if isinstance(fields, dict) else None


def read_source(setting: str, text: str) -> Source:
    """Return the source that a text names.

    Raises UsageError, with the name of the setting, for one that does not exist.

    >>> read_source("profile_fields", "traits.address.city").path, bytes(read_source("profile_fields", '"a"').constant)
    (('traits', 'address', 'city'), b'"a"')
    """
    if text.startswith('"'):
        try:
            return Source((), Raw(encode(str(json.loads(text)))))
        except ValueError:
            raise UsageError(f"the constant {text} of {setting} is not valid") from None
    path = tuple(text.split("."))
    if (len(path) == 1 and text in PLAIN) or (len(path) > 1 and path[0] in _OBJECTS and all(path)):
        return Source(path)
    raise UsageError(
        f"{setting} has the source {text!r}; a source is one of {', '.join(sorted(PLAIN))}, or traits.NAME, "
        'properties.NAME, context.NAME, or "a constant"'
    )
