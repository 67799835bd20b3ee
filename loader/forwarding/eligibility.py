"""Decide whether an event may be sent to an integration."""

from collections.abc import Collection

from loader.events.identities import name_person
from loader.integrations.event import Event, read_events
from loader.integrations.protocol import ALL_CALLS
from loader.pipeline.suppression import SuppressionList

#: Turns off every integration that an event does not name (Segment, "Filtering data").
ALL = "All"


def may_be_sent(
    event: Event, names: Collection[str], calls: Collection[str], suppressed: SuppressionList | None = None
) -> bool:
    """Return whether an event may be sent to an integration with these names that takes these calls.

    It has to be a valid call, its `integrations` must not turn the integration off, and its person must not be
    suppressed.
    """
    if not (is_valid(event) and event.call in calls and is_turned_on(event, names)):
        return False
    return suppressed is None or not is_suppressed(event, suppressed)


def is_valid(event: Event) -> bool:
    """Return whether an event is a call of the tracking API that has a person and, for `track`, a name."""
    return event.call in ALL_CALLS and bool(event.person) and (event.call != "track" or bool(event.name))


def is_turned_on(event: Event, names: Collection[str]) -> bool:
    """Return whether the field `integrations` lets an event go to an integration with these names.

    Case counts. `All` is true by default. A name with `false` turns an integration off; an object counts as true, and
    so do other values. `All: false` turns off every integration that is not named.
    """
    if "integrations" not in event.fields:
        return True
    options = event.options
    given = [options[name] for name in names if name in options]
    if given:
        return all(value is not False for value in given)
    return options.get(ALL, True) is not False


def is_suppressed(event: Event, suppressed: SuppressionList) -> bool:
    """Return whether the person of an event is suppressed, by any of its identities."""
    return bool(suppressed.digests) and any(map(suppressed.has, event_names(event)))


def without_suppressed(line: bytes, suppressed: SuppressionList) -> bytes | None:
    """Return a stored line, or None if it is an event of a suppressed person, or is not readable and names one."""
    events = read_events(line)
    if any(is_suppressed(event, suppressed) for event in events) or (not events and suppressed.mentions(line)):
        return None
    return line


def event_names(event: Event) -> set[str]:
    """Return the names of the person of an event: its user id, its anonymous id, and addresses in its traits."""
    traits = event.context.get("traits")
    emails = [fields.get("email") for fields in (traits, event.traits) if isinstance(fields, dict)]
    addresses = [email for email in emails if isinstance(email, str)]
    return name_person(event.user_id, event.anonymous_id, *addresses)
