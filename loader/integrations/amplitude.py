"""Send events to Amplitude's HTTP V2 API, or to its Batch Event Upload API.

Field names, limits and answers: Amplitude, "HTTP V2 API", "Batch and retry HTTP V2 API requests" and "Batch Event
Upload API" (of March and November 2026), and what Amplitude's Python SDK does with the answers.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from loader.integrations.event import Event, encode
from loader.integrations.http import Answer, Request
from loader.integrations.outcomes import DELIVERED, DeliveryError, EventRejected, Outcome, Refused, TryLater
from loader.integrations.over_http import HttpIntegration, base_url, read_failure, read_object
from loader.integrations.protocol import Batch, BatchLimits, Options, Record, Secret, Setting

HOSTS = {"us": "https://api2.amplitude.com", "eu": "https://api.eu.amplitude.com"}
#: The APIs: path, and bytes of a request. `http` takes 30 events a second for one person, `batch` 1,000.
APIS = {"http": ("/2/httpapi", 1 << 20), "batch": ("/batch", 20 << 20)}
#: Bytes of a request around its events.
ENVELOPE_BYTES = 1024
#: Events in a request. The two documents say "fewer than 2000" and "up to 2,000"; the first is safe by both.
MAX_EVENTS = 1999
#: Characters of an id, as of any text. Texts in properties are cut by Amplitude, but a cut id is another person.
MAX_ID = 1024
#: Names with which a track call would change what is known of a user or a group.
RESERVED_NAMES = frozenset({"$identify", "$groupidentify"})
#: Fields of an answer 400 that name events by their index in the request, in lists for each wrong field, or in a list.
INVALID = ("events_with_invalid_fields", "events_with_missing_fields", "events_with_invalid_id_lengths")
SILENCED = "silenced_events"
#: Seconds to wait for a throttled person ("429"), and for one above the daily quota, which is counted over 24 hours.
THROTTLED_SECONDS, QUOTA_SECONDS = 30.0, 3600.0
#: How often the rest of a request is sent again at once after an answer that names some of its events.
MAX_ROUNDS = 20


class Amplitude(HttpIntegration):
    """Track calls as events.

    Amplitude ignores a repeated `insert_id` for 7 days. After an answer of 400 or 429 no event of the request is
    stored, so the events that it does not name are sent again at once.
    """

    name, label = "amplitude", "Amplitude"
    settings = (
        Setting("region", "Where the project's data is.", "us", choices=tuple(HOSTS)),
        Setting("api", "http, or batch for more than 30 events a second of one person.", "http", choices=tuple(APIS)),
        Setting("events", "Maximum number of events in a request.", "1000"),
        Setting("min_id_length", "Minimum length of user ids; Amplitude's own is 5.", "1"),
        Setting("url", "Address of the API in place of the region's, without a path.", ""),
    )
    secret = Secret("The API key of the project.")

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        path, size = APIS[options.settings["api"]]
        self._url = base_url(options, HOSTS) + path
        self._min_id_length = options.number("min_id_length", MAX_ID)
        self.limits = BatchLimits(options.number("events", MAX_EVENTS), size - ENVELOPE_BYTES, size // 2)

    def encode(self, event: Event) -> bytes:
        """Return the event. Amplitude derives the device from the user if there is no anonymous id."""
        ids = {"user_id": event.known_user_id, "device_id": event.known_anonymous_id}
        if any(value and len(value) > MAX_ID for value in ids.values()):
            raise EventRejected("id_too_long", f"an id has more than {MAX_ID} characters")
        ids = {name: value for name, value in ids.items() if value and len(value) >= self._min_id_length}
        if not ids:
            raise EventRejected("no_identity", "the event has neither a userId nor an anonymousId of sufficient length")
        if not event.name.strip():
            raise EventRejected("no_name", "the event has no name")
        if event.name in RESERVED_NAMES:
            raise EventRejected("reserved_name", f"Amplitude treats an event {event.name!r} as a change of a user")
        if event.moment is None:
            raise EventRejected("no_time", "the event has no readable time")
        fields: dict[str, Any] = {
            **ids,
            "event_type": event.name,
            "time": int(event.moment.timestamp() * 1000),
            "insert_id": event.message_id,
            "event_properties": event.utm_properties,
        }
        for name, source in (("ip", "ip"), ("user_agent", "userAgent")):
            if isinstance(value := event.context.get(source), str):
                fields[name] = value
        return encode(fields)

    def request(self, batch: Batch) -> Request:
        """Return the request."""
        options = b',"options":{"min_id_length":%d}' % self._min_id_length
        body = b'{"api_key":%b%b,"events":[%b]}' % (encode(self._options.secret), options, b",".join(batch.bodies))
        return Request(self._url, body)

    def deliver(self, batch: Batch) -> Sequence[Outcome]:
        """Send a batch, and what is left of it while answers name events that are wrong or have to wait."""
        outcomes: list[Outcome | None] = [None] * len(batch.records)
        rest = Outcome("retry", "rest_of_request")
        for _ in range(MAX_ROUNDS):
            places = [place for place, outcome in enumerate(outcomes) if outcome is None]
            if not places:
                break
            records = [batch.records[place] for place in places]
            try:
                named = self._send(Batch(batch.key, records))
            except DeliveryError as exc:
                if len(places) == len(outcomes):
                    raise
                rest = Outcome("retry", exc.reason, exc.answer, exc.retry_after, exc.code)
                break
            for index, outcome in named.items():
                outcomes[places[index]] = outcome
        return [outcome or rest for outcome in outcomes]

    def _send(self, batch: Batch) -> dict[int, Outcome]:
        answer = self._client.send(self.request(batch))
        if answer.status == 403 and (len(batch.records) > 1 or self._takes_requests()):
            raise Refused("forbidden", answer.text, code=answer.status)
        return read_answer(answer, batch.records)

    def _takes_requests(self) -> bool:
        """Return whether a request without events gets another answer than 403.

        Amplitude's firewall answers 403 to a sender that it does not serve, and to a text that looks like an attack.
        """
        return self._client.send(self.request(Batch("", ()))).status != 403


def read_answer(answer: Answer, records: Sequence[Record]) -> dict[int, Outcome]:
    """Return what an answer says of events, by their index in the request: all are delivered, or some are not.

    Raises DeliveryError if it names no event.
    """
    if answer.is_success:
        if read_object(answer).get("code") != 200:
            raise TryLater("unexpected_answer", answer.text, code=answer.status)
        return dict.fromkeys(range(len(records)), DELIVERED)
    if answer.status not in {400, 429}:
        raise read_failure(answer)
    try:
        found = read_object(answer)
    except TryLater:
        raise read_failure(answer) from None
    if "invalid api key" in str(found.get("error")).lower():
        raise TryLater("unauthorized", answer.text, code=answer.status)
    named = {
        **_read_throttled(found, answer, records),
        **{
            index: Outcome("rejected", "silenced", "Amplitude ignores this device", code=answer.status)
            for index in _indices([found.get(SILENCED)], len(records))
        },
    }
    for kind in INVALID:
        fields = found.get(kind)
        for field, indices in fields.items() if isinstance(fields, Mapping) else ():
            text = f"{found.get('error') or 'invalid'}: {field}"
            for index in _indices([indices], len(records)):
                named[index] = Outcome("rejected", "invalid_field", text, code=answer.status)
    if not named:
        raise read_failure(answer)
    return named


def _read_throttled(found: Mapping[str, Any], answer: Answer, records: Sequence[Record]) -> dict[int, Outcome]:
    """Return the events that have to wait, and with each the later ones of its person, which must not pass it."""
    over_quota = {
        *_keys(found.get("exceeded_daily_quota_users")),
        *_keys(found.get("exceeded_daily_quota_devices")),
    }
    first: dict[str, int] = {}
    for index in _indices([found.get("throttled_events")], len(records)):
        first.setdefault(records[index].event.person, index)
    waiting: dict[int, Outcome] = {}
    for index, record in enumerate(records):
        event = record.event
        if {event.user_id, event.anonymous_id} & over_quota:
            waiting[index] = Outcome("retry", "daily_quota", answer.text, QUOTA_SECONDS, answer.status)
        elif index >= first.get(event.person, len(records)):
            pause = max(answer.retry_after or 0, THROTTLED_SECONDS)
            waiting[index] = Outcome("retry", "throttled", answer.text, pause, answer.status)
    return waiting


def _indices(lists: Iterable[Any], size: int) -> list[int]:
    """Return the valid indices in lists, sorted; anything else that an answer may have is ignored."""
    found = {index for items in lists if isinstance(items, list) for index in items if type(index) is int}
    return sorted(index for index in found if 0 <= index < size)


def _keys(found: Any) -> Iterable[str]:
    return found if isinstance(found, Mapping) else ()
