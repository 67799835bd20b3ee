"""What a call of the tracking API becomes at Selligent, as Segment's destination did it.

identify → upsert of a profile by the business key; track → row of the events data list, if the event is allowed, and
trigger of a journey, if the event has one; group → a profile enters or leaves a static segment; alias, page, screen →
row of the events data list, by switch. Source: Segment's catalog, "Selligent Marketing Cloud Destination".
"""

import re
from collections.abc import Sequence

import msgspec
from msgspec import Raw

from loader.integrations.event import Event, encode
from loader.integrations.outcomes import EventRejected, EventSkipped
from loader.integrations.selligent.settings import Fields, Journey, SelligentSettings

LOAD, ADD, REMOVE, TRIGGER = "load", "add", "remove", "trigger"
#: API names that a group call may give, so that they cannot lead to another path.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
_METHODS = {"ADD": ADD, "REMOVE": REMOVE}
_NULL = (b"null", b'""')


class Operation(msgspec.Struct, frozen=True, array_like=True):
    """One record of a request. `place` is list, or list and segment, or journey and entry point."""

    action: str
    place: tuple[str, ...]
    key: str
    fields: tuple[str, ...]
    row: list[Raw]

    @property
    def subject(self) -> bytes | None:
        """The value of the key, which is in a request only once; None without a key."""
        return bytes(self.row[self.fields.index(self.key)]) if self.key else None


_decoder = msgspec.json.Decoder(list[Operation])


def encode_operations(operations: Sequence[Operation]) -> bytes:
    """Return operations as JSON."""
    return encode(operations)


def decode_operations(body: bytes) -> list[Operation]:
    """Return the operations of `encode_operations`."""
    return _decoder.decode(body)


def read_operations(settings: SelligentSettings, event: Event) -> list[Operation]:
    """Return what an event becomes, in the order in which it has to be done.

    Raises EventSkipped for one that is not sent, EventRejected for one that says what cannot be done.
    """
    call = event.call
    if call == "identify":
        return [_read_profile(settings, event)]
    if not event.user_id:
        raise EventSkipped
    if call == "group":
        if not settings.is_on("group"):
            raise EventSkipped
        return [_read_membership(settings, event)]
    operations = []
    is_row = settings.is_on(call) if call != "track" else _is_allowed(settings, event.name)
    if is_row and settings.events_list:
        operations.append(_read_row(settings, event))
    if call == "track" and (journey := settings.journeys.get(event.name)):
        operations.append(_read_trigger(journey, event))
    if not operations:
        raise EventSkipped
    return operations


def _is_allowed(settings: SelligentSettings, name: str) -> bool:
    return settings.allowed_events is None or name in settings.allowed_events


def _read_profile(settings: SelligentSettings, event: Event) -> Operation:
    """Return the upsert of a profile, with the fields whose values the call has; the others keep what they have."""
    key = settings.key_source.read(event)
    if key is None or bytes(key) in _NULL:
        raise EventSkipped
    found = {settings.key: key, **_read_values(settings.profile_fields, event)}
    return Operation(LOAD, (settings.profile_list,), settings.key, tuple(found), list(found.values()))


def _read_values(fields: Fields, event: Event) -> dict[str, Raw]:
    return {name: value for name, source in fields.items() if (value := source.read(event)) is not None}


def _read_row(settings: SelligentSettings, event: Event) -> Operation:
    """Return a new row, in which missing values are null."""
    row = [source.read(event) or Raw(b"null") for source in settings.events_fields.values()]
    return Operation(LOAD, (settings.events_list,), settings.events_key, tuple(settings.events_fields), row)


def _read_trigger(journey: Journey, event: Event) -> Operation:
    found = _read_values(journey.parameters, event)
    return Operation(TRIGGER, (journey.name, journey.entrypoint), "", tuple(found), list(found.values()))


def _read_membership(settings: SelligentSettings, event: Event) -> Operation:
    """Return that a profile enters or leaves a segment: `groupId`, `traits.userlist`, `.matchkey` and `.method`.

    Write keys of sites are public, so a call can name only lists and fields that the settings name.
    """
    traits = event.traits
    segment, name = event.text("groupId") or "", str(traits.get("userlist") or settings.profile_list)
    field, method = str(traits.get("matchkey") or settings.key), str(traits.get("method") or "ADD").upper()
    if not _NAME.fullmatch(segment):
        raise EventRejected("invalid_group", "groupId is not the API name of a segment")
    if name not in settings.group_lists:
        raise EventRejected("invalid_group", f"traits.userlist {name!r} is not in the setting group_lists")
    if field != settings.key and field not in settings.profile_fields:
        raise EventRejected("invalid_group", f"traits.matchkey {field!r} is not a field that the settings name")
    if method not in _METHODS:
        raise EventRejected("invalid_group", f"traits.method is {method!r}; it can be ADD or REMOVE")
    return Operation(_METHODS[method], (name, segment), field, (field,), [Raw(encode(event.user_id))])
