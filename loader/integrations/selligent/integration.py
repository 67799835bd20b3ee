"""Send identify, track, group, alias, page and screen calls to Selligent's REST API, one bulk call at a time.

Rules: developers.meetmarigold.com/engage/api/smc-v1 (authentication, status codes, and in its changelog: one bulk call
for each list at a time, else 429); github.com/catawiki/selligent-rb (paths, parameters, bodies).
"""

import json
import logging
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from loader.crash_points import crash_point
from loader.errors import UsageError
from loader.integrations.event import Event, encode
from loader.integrations.http import Answer, Request
from loader.integrations.outcomes import DeliveryError, Outcome, Refused, TooLarge, TryLater
from loader.integrations.over_http import HttpIntegration, read_failure
from loader.integrations.protocol import ALL_CALLS, Batch, BatchLimits, Options, Secret
from loader.integrations.selligent.operations import (
    ADD,
    LOAD,
    REMOVE,
    TRIGGER,
    decode_operations,
    encode_operations,
    read_operations,
)
from loader.integrations.selligent.schedule import Entry, schedule
from loader.integrations.selligent.schedule import Request as Planned
from loader.integrations.selligent.settings import MAX_BYTES, SETTINGS, read_settings

log = logging.getLogger(__name__)

#: Bytes of what is sent for one event.
MAX_EVENT_BYTES = 1 << 20
#: Characters that `preview` shows of a body.
MAX_PREVIEW = 10_000
#: Statuses of the request for a list's fields by which the account may not ask; other requests may still succeed.
_MAY_NOT_ASK = frozenset({401, 403, 405})
_ADDRESS = re.compile(r"[^\s\"'<>(),;:=\\]+@[^\s\"'<>(),;:=\\]+")


class Selligent(HttpIntegration):
    """Profiles, events, segments and triggers. What is sent of a call is what the settings name, and nothing else."""

    name, label = "selligent", "Selligent Marketing Cloud"
    settings = SETTINGS
    secret = Secret("Key and secret of a service account, as KEY:SECRET.")
    calls = ALL_CALLS
    reads_site, names_fields = True, True

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._settings = read_settings(options)
        key, colon, password = options.secret.partition(":")
        if not (key and colon and password and options.secret.isprintable() and options.secret.isascii()):
            raise UsageError("the secret is not that of a service account; it is KEY:SECRET")
        self._headers = {"X-ApiKey": options.secret, "Accept": "application/json"}
        self.limits = BatchLimits(self._settings.records, MAX_BYTES, MAX_EVENT_BYTES, self._settings.max_wait)
        self._is_checked = not self._settings.is_on("check_fields")
        #: Operations that are done, of events that are not done yet, by messageId and number: a repeat leaves them out.
        self._done: set[tuple[str, int]] = set()

    def encode(self, event: Event) -> bytes:
        """Return the operations that an event becomes, as JSON."""
        return encode_operations(read_operations(self._settings, event))

    def deliver(self, batch: Batch) -> Sequence[Outcome]:
        """Send the requests of a batch. A refused request is divided until the refused records are found.

        A request that may succeed later ends the batch; what was not sent is tried again. Raises DeliveryError if that
        is all of it.
        """
        self._check_lists()
        delivery = _Delivery(self, batch, self._done)
        for planned in self._plan(batch):
            delivery.send(planned, planned.entries)
        return delivery.finish()

    def preview(self, batch: Batch) -> str:
        """Return the requests as text; secrets are masked."""
        return self._client.mask(
            "\n\n".join(_describe(self.request_for(planned, planned.entries)) for planned in self._plan(batch))
        )

    def _plan(self, batch: Batch) -> Sequence[Planned]:
        return schedule(
            ((number, index), record.event.person, operation)
            for number, record in enumerate(batch.records)
            for index, operation in enumerate(decode_operations(record.body))
            if (record.event.message_id, index) not in self._done
        )

    def request_for(self, planned: Planned, entries: Sequence[Entry]) -> Request:
        """Return the request for some entries of a planned one."""
        operation, settings = planned.operation, self._settings
        fields = ",".join(operation.fields)
        if operation.action == TRIGGER:
            journey, entrypoint = operation.place
            values = dict(zip(operation.fields, entries[0].rows[-1], strict=True))
            # `user_id` is Selligent's own number of a user; 0 if it is not known.
            body = encode({"user_id": 0, "parameter_values": values})
            url = settings.url("trigger_path", journey=journey, entrypoint=entrypoint)
            return Request(url, body, self._headers)
        body = encode([entry.rows[-1] for entry in entries])
        if operation.action == LOAD:
            url = settings.url("load_path", list=operation.place[0], fields=fields, keys=operation.key)
            return Request(url, body, self._headers)
        name, segment = operation.place
        url = settings.url(f"{operation.action}_path", list=name, segment=segment, fields=fields)
        return Request(url, body, self._headers, method="DELETE" if operation.action == REMOVE else "POST")

    def call(self, request: Request) -> Answer:
        """Send a request; return the answer, in which addresses are masked. Raises DeliveryError unless it is 2xx."""
        answer = self._client.send(request)
        answer = replace(answer, text=mask_addresses(answer.text))
        if not answer.is_success:
            raise read_failure(answer)
        return answer

    def _check_lists(self) -> None:
        """Raise TryLater, before anything is sent, if a list has not the fields that the settings name."""
        if self._is_checked:
            return
        settings = self._settings
        wanted = {settings.profile_list: {settings.key, *settings.profile_fields}}
        if settings.events_list:
            wanted.setdefault(settings.events_list, set()).update(settings.events_fields)
        for name, fields in wanted.items():
            known = self._read_fields(name)
            missing = sorted(fields - known) if known is not None else []
            if known is not None and missing:
                raise TryLater(
                    "wrong_mapping",
                    f"the list {name} has no field {', '.join(missing)}; it has {', '.join(sorted(known))}. Nothing is "
                    "sent; remove the integration and add it with other settings",
                )
        self._is_checked = True

    def _read_fields(self, name: str) -> set[str] | None:
        """Return the names of a list's fields; None if the account may not read them, or they cannot be read."""
        request = Request(self._settings.url("fields_path", list=name), b"", self._headers, method="GET")
        try:
            answer = self.call(request)
        except DeliveryError as exc:
            if exc.code in _MAY_NOT_ASK:
                log.info("the fields of the list %s are not checked: %s", name, exc)
                return None
            if exc.code == 404:
                raise TryLater("wrong_mapping", f"there is no list {name}: {exc.answer}", code=404) from None
            raise
        found = read_field_names(answer.body)
        if found is None:
            log.info("the fields of the list %s are not checked, the answer is not known: %s", name, answer.text)
        return found


class _Delivery:
    """One batch on its way: which steps are done, rejected, or have failed."""

    def __init__(self, integration: Selligent, batch: Batch, done: set[tuple[str, int]]) -> None:
        self._integration, self._records, self._done = integration, batch.records, done
        self._rejected: dict[int, Outcome] = {}
        self._answers: dict[int, Outcome] = {}
        self.failure: DeliveryError | None = None

    def send(self, planned: Planned, entries: Sequence[Entry]) -> None:
        """Send entries of a request, and divide them if they are refused."""
        entries = [entry for entry in entries if not all(number in self._rejected for number, _ in entry.steps)]
        if self.failure or not entries:
            return
        try:
            answer = self._integration.call(self._integration.request_for(planned, entries))
        except (Refused, TooLarge) as exc:
            self._divide(planned, entries, exc)
            return
        except DeliveryError as exc:
            # The segment comes from the event, so the event is wrong, and not the settings.
            if exc.code == 404 and planned.operation.action in {ADD, REMOVE}:
                self._reject(entries, exc)
            else:
                self.failure = exc
            return
        crash_point("forward.called")
        outcome = Outcome("delivered", answer=answer.text, code=answer.status)
        for number, index in (step for entry in entries for step in entry.steps):
            self._done.add((self._id(number), index))
            self._answers[number] = outcome

    def _divide(self, planned: Planned, entries: Sequence[Entry], error: DeliveryError) -> None:
        if len(entries) > 1:
            middle = len(entries) // 2
            self.send(planned, entries[:middle])
            self.send(planned, entries[middle:])
        elif len(entries[0].rows) > 1:  # each row alone, as only one of them may be refused
            for step, row in zip(entries[0].steps, entries[0].rows, strict=True):
                self.send(planned, [Entry([step], [row])])
        else:
            self._reject(entries, error)

    def _reject(self, entries: Sequence[Entry], error: DeliveryError) -> None:
        outcome = Outcome("rejected", error.reason, error.answer, code=error.code)
        self._rejected.update((number, outcome) for entry in entries for number, _ in entry.steps)

    def finish(self) -> Sequence[Outcome]:
        """Return the outcomes; raise the failure if no event has got any."""
        counts = [len(decode_operations(record.body)) for record in self._records]
        outcomes: list[Outcome | None] = []
        for number, count in enumerate(counts):
            steps: set[tuple[str, int]] = {(self._id(number), index) for index in range(count)}
            if number in self._rejected:
                outcomes.append(self._rejected[number])
            elif steps <= self._done:
                outcomes.append(self._answers.get(number, Outcome("delivered")))
            else:
                outcomes.append(None)
        for number, outcome in enumerate(outcomes):
            if outcome:
                self._done.difference_update((self._id(number), index) for index in range(counts[number]))
        if self.failure and not any(outcomes):
            raise self.failure
        failure = self.failure or TryLater("unexpected")
        later = Outcome("retry", failure.reason, failure.answer, failure.retry_after, failure.code)
        return [outcome or later for outcome in outcomes]

    def _id(self, number: int) -> str:
        return self._records[number].event.message_id


def mask_addresses(text: str) -> str:
    """Return a text without e-mail addresses.

    >>> mask_addresses("record 0: 'anna@example.com' of MAIL is not valid")
    "record 0: '***@***' of MAIL is not valid"
    """
    return _ADDRESS.sub("***@***", text)


def read_field_names(body: bytes) -> set[str] | None:
    """Return the names in an answer with the fields of a list; None if it has another form than the known ones.

    >>> sorted(read_field_names(b'{"fields": [{"name": "MAIL"}, {"name": "ID"}]}'))
    ['ID', 'MAIL']
    """
    try:
        found: Any = json.loads(body)
    except (ValueError, RecursionError):
        return None
    entries = found.get("fields") if isinstance(found, dict) else found
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        return None
    names = [entry.get("name") or entry.get("field_name") or entry.get("api_name") for entry in entries]
    return {str(name) for name in names} if names and all(names) else None


def _describe(request: Request) -> str:
    body = request.body.decode("utf-8", "replace")
    more = f"\n… {len(body) - MAX_PREVIEW:,} more characters" if len(body) > MAX_PREVIEW else ""
    headers = [f"{name}: {value}" for name, value in {"Content-Type": request.content_type, **request.headers}.items()]
    return "\n".join([f"{request.method} {request.url}", *headers, "", body[:MAX_PREVIEW] + more])
