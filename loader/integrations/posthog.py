"""Send events to PostHog's batch endpoint, in the cloud or of an own installation.

Field names and limits: PostHog, "Capture and batch API endpoints". Answers: the source of its service `capture`, which
refuses a whole request because of one event, and answers 200 when it drops events above the limit of the plan.
"""

from collections.abc import Sequence
from typing import Any

from loader.integrations.event import Event, encode
from loader.integrations.http import Answer, Request
from loader.integrations.outcomes import DELIVERED, EventRejected, Outcome, TryLater
from loader.integrations.over_http import HttpIntegration, base_url, read_object
from loader.integrations.protocol import Batch, BatchLimits, Options, Secret, Setting

HOSTS = {"us": "https://us.i.posthog.com", "eu": "https://eu.i.posthog.com"}
#: Bytes of a request before compression, of an event (a message of its Kafka topic), and those around the events.
MAX_BYTES, MAX_EVENT_BYTES, ENVELOPE_BYTES = 20_000_000, 900_000, 1024
#: Characters of an id. PostHog cuts it there, and a cut id is another person.
MAX_ID = 200
#: Names with which a track call would change who a person is.
RESERVED_NAMES = frozenset({"$identify", "$create_alias", "$merge_dangerously", "$groupidentify", "$set"})
#: Properties that could make PostHog refuse a request, or take an event for another project's or person's.
NOT_SENT = frozenset({"token", "distinct_id", "$cookieless_mode"})


class PostHog(HttpIntegration):
    """Track calls as events.

    PostHog stores one event of those with the same name, day, `distinct_id` and `uuid`. It does so some time after it
    has received them.
    """

    name, label = "posthog", "PostHog"
    settings = (
        Setting("region", "Where the project is.", "us", choices=tuple(HOSTS)),
        Setting("historical", "Whether events are old ones, for a replay.", "false", choices=("false", "true")),
        Setting("events", "Maximum number of events in a request.", "1000"),
        Setting("url", "Address of an own installation in place of the region's.", ""),
    )
    secret = Secret("The project API key, phc_….")

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._url = f"{base_url(options, HOSTS)}/batch/"
        self.limits = BatchLimits(options.number("events", 10_000), MAX_BYTES - ENVELOPE_BYTES, MAX_EVENT_BYTES)

    def encode(self, event: Event) -> bytes:
        """Return the event. One of nobody gets an id of its own and makes no person profile."""
        person = event.known_user_id or event.known_anonymous_id
        if person and len(person) > MAX_ID:
            raise EventRejected("id_too_long", f"the id has more than {MAX_ID} characters")
        if not event.name.strip():
            raise EventRejected("no_name", "the event has no name")
        if event.name in RESERVED_NAMES:
            raise EventRejected("reserved_name", f"PostHog treats an event {event.name!r} as a change of a person")
        if event.moment is None:
            raise EventRejected("no_time", "the event has no readable time")
        address, agent = event.context.get("ip"), event.context.get("userAgent")
        properties: dict[str, Any] = {
            name: value for name, value in event.utm_properties.items() if name not in NOT_SENT
        }
        if isinstance(address, str):
            properties["$ip"] = address
        else:  # without them PostHog takes the address of this machine for the person's, and derives a place from it
            properties |= {"$ip": None, "$geoip_disable": True}
        if isinstance(agent, str):
            properties["$raw_user_agent"] = agent
        if not person:
            properties["$process_person_profile"] = False
        fields = {
            "event": event.name,
            "distinct_id": person or event.uuid,
            "uuid": event.uuid,
            "timestamp": event.moment.isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "properties": properties,
        }
        return encode(fields)

    def request(self, batch: Batch) -> Request:
        """Return the request. It has no `sent_at`, with which PostHog would correct the times again."""
        key, is_historical = encode(self._options.secret), self._options.settings["historical"].encode()
        start = b'{"api_key":%b,"historical_migration":%b,"batch":[' % (key, is_historical)
        return Request(self._url, start + b",".join(batch.bodies) + b"]}", is_compressed=True)

    def read_answer(self, answer: Answer, batch: Batch) -> Sequence[Outcome]:
        """Return that all events are delivered, unless the answer says that they were above a limit."""
        found = read_object(answer)
        if "events" in str(found.get("quota_limited") or ""):
            raise TryLater("quota_limited", answer.text, code=answer.status)
        if "status" not in found:
            raise TryLater("unexpected_answer", answer.text, code=answer.status)
        return [DELIVERED] * len(batch.records)
