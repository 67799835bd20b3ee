"""Send events to Mixpanel's Import API, which also takes events that are older than five days.

Field names, limits and answers: Mixpanel, "Import Events" (August 2026) and "400 Bad Request".
"""

import base64
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from loader.errors import UsageError
from loader.integrations.event import PLACEHOLDERS, Event, encode
from loader.integrations.http import Answer, Request
from loader.integrations.outcomes import DELIVERED, DeliveryError, EventRejected, Outcome, TryLater
from loader.integrations.over_http import HttpIntegration, base_url, read_failure, read_object
from loader.integrations.protocol import Batch, BatchLimits, Options, Secret, Setting

HOSTS = {
    "us": "https://api.mixpanel.com",
    "eu": "https://api-eu.mixpanel.com",
    "in": "https://api-in.mixpanel.com",
}
#: Events and bytes of a request before compression. The text says 10 MB, its example of an answer 2,097,152 bytes, and
#: older editions 2 MB: the smaller number is safe by all.
MAX_EVENTS, MAX_BYTES, MAX_EVENT_BYTES = 2000, 2 << 20, 1_000_000
#: Characters of an id; Mixpanel cuts all texts there, and a cut id is another person.
MAX_ID = 255
#: What an `$insert_id` may be.
_INSERT_ID = re.compile("[A-Za-z0-9-]{1,36}")
#: Properties that Mixpanel gives a meaning of its own; those of an event are not sent. (Segment's destination leaves
#: out nearly the same.)
RESERVED = frozenset(
    {"time", "distinct_id", "$insert_id", "$user_id", "$device_id", "$anon_id", "$group_id", "token", "ip"}
)


class Mixpanel(HttpIntegration):
    """Track calls as events.

    Mixpanel stores one event of those with the same name, time, `distinct_id` and `$insert_id`. An answer of 400 names
    the events that are wrong; all others of the request are stored.
    """

    name, label = "mixpanel", "Mixpanel"
    settings = (
        Setting("region", "Where the project's data is.", "us", choices=tuple(HOSTS)),
        Setting("project_id", "Number of the project; needed with a service account.", ""),
        Setting("events", "Maximum number of events in a request.", str(MAX_EVENTS)),
        Setting("url", "Address of the API in place of the region's, without a path.", ""),
    )
    secret = Secret("user:password of a service account, or the token of the project.")

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        project, is_account = options.settings["project_id"], ":" in options.secret
        if is_account and not project.isdecimal():
            raise UsageError("mixpanel needs --set project_id=… with a service account: the number of the project")
        query = urlencode({"strict": 1} | ({"project_id": project} if is_account else {}))
        self._url = f"{base_url(options, HOSTS)}/import?{query}"
        login = options.secret if is_account else f"{options.secret}:"
        self._headers = {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}
        self.limits = BatchLimits(options.number("events", MAX_EVENTS), MAX_BYTES - 2, MAX_EVENT_BYTES)

    def encode(self, event: Event) -> bytes:
        """Return the event. Without any id it has an empty `distinct_id`: it counts, and belongs to nobody."""
        user, device = event.known_user_id, event.known_anonymous_id
        if any(value and len(value) > MAX_ID for value in (user, device)):
            raise EventRejected("id_too_long", f"an id has more than {MAX_ID} characters")
        if not event.name.strip():
            raise EventRejected("no_name", "the event has no name")
        if event.moment is None:
            raise EventRejected("no_time", "the event has no readable time")
        address = event.context.get("ip")
        properties: dict[str, Any] = {
            **{name: value for name, value in event.utm_properties.items() if name not in RESERVED},
            "time": int(event.moment.timestamp() * 1000),
            "distinct_id": user or device or "",
            "$insert_id": insert_id(event),
            # 0 keeps Mixpanel from deriving a place from the address of this machine ("GeoIP Enrichment").
            "ip": address if address and isinstance(address, str) else 0,
        }
        ids = {"$user_id": user, "$device_id": device}
        properties |= {name: value for name, value in ids.items() if value}
        return encode({"event": event.name, "properties": properties})

    def request(self, batch: Batch) -> Request:
        """Return the request."""
        return Request(self._url, b"[" + b",".join(batch.bodies) + b"]", self._headers, is_compressed=True)

    def deliver(self, batch: Batch) -> Sequence[Outcome]:
        """Send a batch; an answer of 400 that names events is one for each event."""
        answer = self._client.send(self.request(batch))
        if answer.is_success:
            if read_object(answer).get("code") != 200:
                raise TryLater("unexpected_answer", answer.text, code=answer.status)
            return [DELIVERED] * len(batch.records)
        if answer.status != 400:
            raise read_failure(answer)
        return read_failed_records(answer, len(batch.records))


def read_failed_records(answer: Answer, size: int) -> list[Outcome]:
    """Return the outcomes of an answer of 400; raise DeliveryError if it names no event."""
    try:
        found = read_object(answer)
    except DeliveryError:
        raise read_failure(answer) from None
    failed = found.get("failed_records")
    outcomes = [DELIVERED] * size
    for record in failed if isinstance(failed, list) else ():
        index = record.get("index") if isinstance(record, dict) else None
        if type(index) is not int or not 0 <= index < size:
            raise read_failure(answer)
        text = f"{record.get('field')}: {record.get('message')}"
        outcomes[index] = Outcome("rejected", "invalid_field", text, code=400)
    if all(outcome is DELIVERED for outcome in outcomes):
        raise read_failure(answer)
    return outcomes


def insert_id(event: Event) -> str:
    """Return a `$insert_id`: the messageId if it can be one, else a UUID made of it."""
    if _INSERT_ID.fullmatch(event.message_id) and event.message_id.lower() not in PLACEHOLDERS:
        return event.message_id
    return event.uuid
