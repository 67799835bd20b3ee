"""Send events to Google Analytics 4 by the Measurement Protocol.

Field names and limits: Google, "Send Measurement Protocol events to Google Analytics", "Measurement Protocol
reference", "Validate events" and "Event naming rules" (2026). The limits are those of a standard property; the setting
`value_length` may be 500 for Google Analytics 360.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from math import isfinite
from typing import Any
from urllib.parse import urlencode

from loader.errors import UsageError
from loader.events.identifiers import snake
from loader.integrations.event import Event, encode
from loader.integrations.http import Request
from loader.integrations.outcomes import DELIVERED, DeliveryError, EventRejected, Outcome
from loader.integrations.over_http import HttpIntegration, base_url, read_failure, read_object
from loader.integrations.protocol import Batch, BatchLimits, Options, Record, Secret, Setting

HOSTS = {"us": "https://www.google-analytics.com", "eu": "https://region1.google-analytics.com"}
COLLECT, VALIDATE = "/mp/collect", "/debug/mp/collect"
#: Events and bytes of a request, and bytes of it around its events.
MAX_EVENTS, MAX_BYTES, ENVELOPE_BYTES = 25, 130_000, 2048
#: Parameters of an event; characters of a name and of a user id.
MAX_PARAMETERS, MAX_NAME, MAX_USER_ID = 25, 40, 256
#: How far back events can be dated ("timestamp_micros"). An older one would get a wrong time, so it is not sent.
MAX_AGE = timedelta(hours=72)
#: Names of events that a web stream reserves.
RESERVED_EVENTS = frozenset(
    """
    ad_activeview ad_click ad_exposure ad_impression ad_query ad_reward adunit_exposure app_background app_clear_data
    app_exception app_install app_remove app_store_refund app_store_subscription_cancel app_store_subscription_renew
    app_update app_upgrade click dynamic_link_app_open dynamic_link_app_update dynamic_link_first_open error
    file_download firebase_campaign firebase_in_app_message_action firebase_in_app_message_dismiss
    firebase_in_app_message_impression first_open first_visit form_start form_submit in_app_purchase
    notification_dismiss notification_foreground notification_open notification_receive notification_send os_update
    page_view screen_view scroll session_start user_engagement video_complete video_progress video_start
    view_complete view_search_results
    """.split()  # noqa: SIM905
)
#: Names of parameters that are reserved. (`session_id` and `engagement_time_msec` are too, but meant to be sent.)
RESERVED_PARAMETERS = frozenset({"gclid", "session_number", "firebase_conversion"})
RESERVED_PREFIXES = ("_", "firebase_", "ga_", "google_", "gtag.")
#: Properties that are sent first if an event has more than MAX_PARAMETERS.
FIRST = ("campaign_id", "campaign_name", "email_id", "email_subject", "link_id", "link_name", "link_url", "list_id")


class GoogleAnalytics(HttpIntegration):
    """Track calls as events of a web stream.

    Google answers 2xx to everything, and has no key by which it finds a repeated event: an event that was answered with
    2xx is not sent again, and one whose answer was lost is stored twice. A request is about one person, so most have
    one event.
    """

    name, label = "ga4", "Google Analytics 4"
    settings = (
        Setting("measurement_id", "Id of the web stream, G-…."),
        Setting("region", "Where Google receives the events.", "us", choices=tuple(HOSTS)),
        Setting("value_length", "Characters of a text; longer ones are cut.", "100"),
        Setting("url", "Address of the API in place of the region's, without a path.", ""),
    )
    secret = Secret("The API secret of the stream, for the Measurement Protocol.")
    limits = BatchLimits(MAX_EVENTS, MAX_BYTES - ENVELOPE_BYTES, MAX_BYTES - ENVELOPE_BYTES)

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        stream = options.settings["measurement_id"]
        if not stream.startswith("G-") or not stream[2:].isalnum():
            raise UsageError(f"the setting measurement_id is {stream!r}; write the one of the web stream, G-…")
        self._base = base_url(options, HOSTS)
        self._query = urlencode({"measurement_id": stream, "api_secret": options.secret})
        self._value_length = options.number("value_length", 500)

    def encode(self, event: Event) -> bytes:
        """Return the event, with the name of its table: `Email Opened` is `email_opened`."""
        name = snake(event.name)
        if not name or not name[0].isalpha() or len(name) > MAX_NAME:
            raise EventRejected("invalid_name", f"{name!r} is no name for Google Analytics; rename it by the mapping")
        if name in RESERVED_EVENTS or name.startswith(RESERVED_PREFIXES):
            raise EventRejected("reserved_name", f"Google Analytics reserves {name!r}; rename it by the mapping")
        if len(event.known_user_id or "") > MAX_USER_ID:
            raise EventRejected("id_too_long", f"the userId has more than {MAX_USER_ID} characters")
        if event.moment is None:
            raise EventRejected("no_time", "the event has no readable time")
        client_id(event)
        parameters = dict(_choose(_flatten(event.properties, self._value_length)))
        micros = (event.moment - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1)
        return encode({"name": name, "timestamp_micros": micros, "params": parameters})

    def request(self, batch: Batch) -> Request:
        """Return the request for events of one person."""
        return self._request(COLLECT, batch.records)

    def _request(self, path: str, records: Sequence[Record], **fields: str) -> Request:
        client, user = _describe_sender(records[0].event)
        about = {"client_id": client, "user_id": user, **fields}
        start = encode({name: value for name, value in about.items() if value})[:-1]
        events = b",".join(record.body for record in records)
        return Request(f"{self._base}{path}?{self._query}", start + b',"events":[' + events + b"]}")

    def deliver(self, batch: Batch) -> Sequence[Outcome]:
        """Send requests in the order of the events, each for the next ones of one person.

        After a failure, it and all later ones are tried again: what was answered with 2xx is a beginning of the batch,
        so the place to go on from is behind it, and it is not sent again after a stop.
        """
        outcomes: list[Outcome] = []
        for _, group in groupby(batch.records, lambda record: _describe_sender(record.event)):
            records = list(group)
            try:
                outcomes += self._deliver(records)
            except DeliveryError as exc:
                if not outcomes:
                    raise
                rest = Outcome("retry", exc.reason, exc.answer, exc.retry_after, exc.code)
                return outcomes + [rest] * (len(batch.records) - len(outcomes))
        return outcomes

    def _deliver(self, records: Sequence[Record]) -> list[Outcome]:
        """Send the events of one person that are not too old."""
        outcomes = [_check_age(record.event) for record in records]
        recent = [record for record, outcome in zip(records, outcomes, strict=True) if outcome is DELIVERED]
        if recent:
            answer = self._client.send(self._request(COLLECT, recent))
            if not answer.is_success:
                raise read_failure(answer)
        return outcomes

    def test(self, batch: Batch) -> Sequence[Outcome]:
        """Ask the validation server, which stores nothing, and checks neither the API secret nor the stream."""
        request = self._request(VALIDATE, batch.records, validation_behavior="ENFORCE_RECOMMENDATIONS")
        answer = self._client.send(request)
        if not answer.is_success:
            raise read_failure(answer)
        if messages := read_object(answer).get("validationMessages"):
            return [Outcome("rejected", "invalid", self._client.mask(json.dumps(messages)), code=answer.status)]
        note = "valid for the validation server, which checks neither the API secret nor the measurement id"
        return [Outcome("delivered", answer=note, code=answer.status)]


def client_id(event: Event) -> str:
    """Return the id of a browser: the option `clientId` of the event for this integration, else one for the person.

    Raises EventRejected for an event of nobody.
    """
    options = event.options.get(GoogleAnalytics.label)
    if isinstance(options, dict) and isinstance(given := options.get("clientId"), str) and given:
        return given[:MAX_USER_ID]
    person = event.known_user_id or event.known_anonymous_id
    if person is None:
        raise EventRejected("no_identity", "the event has neither a userId nor an anonymousId")
    digest = hashlib.sha256(person.encode()).digest()
    return f"{int.from_bytes(digest[:4])}.{int.from_bytes(digest[4:8])}"


def _describe_sender(event: Event) -> tuple[str, str | None]:
    return client_id(event), event.known_user_id


def _check_age(event: Event) -> Outcome:
    if event.moment is None or datetime.now(UTC) - event.moment <= MAX_AGE:
        return DELIVERED
    return Outcome("rejected", "too_old", "Google Analytics takes events of the last 72 hours")


def _flatten(value: dict[str, Any], length: int, prefix: str = "") -> Iterator[tuple[str, str | int | float]]:
    """Yield names and values of parameters: texts and numbers. Objects are flattened, lists become JSON."""
    for key, inner in value.items():
        name = f"{prefix}_{snake(key)}" if prefix else snake(key)
        if isinstance(inner, dict):
            yield from _flatten(inner, length, name)
        elif isinstance(inner, bool | list):
            yield name, encode(inner).decode("utf-8", "replace")[:length]
        elif isinstance(inner, str):
            yield name, inner[:length]
        elif isinstance(inner, int) or (isinstance(inner, float) and isfinite(inner)):
            yield name, inner


def _choose(parameters: Iterator[tuple[str, str | int | float]]) -> list[tuple[str, str | int | float]]:
    """Return the parameters whose names are allowed, at most MAX_PARAMETERS, those of FIRST before others."""
    allowed = {
        name: value
        for name, value in parameters
        if name[:1].isalpha()
        and len(name) <= MAX_NAME
        and name not in RESERVED_PARAMETERS
        and not name.startswith(RESERVED_PREFIXES)
    }
    return sorted(allowed.items(), key=lambda pair: pair[0] not in FIRST)[:MAX_PARAMETERS]
