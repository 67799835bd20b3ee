"""What integrations over HTTP share: one request for a batch, and the meaning of status codes."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import urlsplit

from loader.errors import UsageError
from loader.integrations.event import Event
from loader.integrations.http import Answer, Request
from loader.integrations.outcomes import DELIVERED, DeliveryError, Disabled, Outcome, Refused, TooLarge, TryLater
from loader.integrations.protocol import TRACK_ONLY, Batch, BatchLimits, Options, Secret, Setting

#: Characters of a body that `preview` shows.
MAX_PREVIEW = 10_000
#: What a status means (RFC 9110): the error, and its reason. Those from 401 on say something about the target or its
#: settings, not about the events: a repaired key or URL makes the same request succeed, so it is tried again.
MEANINGS: dict[int, tuple[type[DeliveryError], str]] = {
    413: (TooLarge, "too_large"),
    410: (Disabled, "gone"),
    408: (TryLater, "timeout"),
    425: (TryLater, "timeout"),
    429: (TryLater, "throttled"),
    401: (TryLater, "unauthorized"),
    402: (TryLater, "payment_required"),
    403: (TryLater, "forbidden"),
    404: (TryLater, "not_found"),
    405: (TryLater, "not_found"),
    407: (TryLater, "proxy_unauthorized"),
    421: (TryLater, "not_found"),
    451: (TryLater, "forbidden"),
}
#: The same by the first digit of the status.
MEANINGS_BY_CLASS: dict[int, tuple[type[DeliveryError], str]] = {
    3: (TryLater, "redirect"),
    4: (Refused, "refused"),
    5: (TryLater, "server_error"),
}


class HttpIntegration:
    """An integration that sends each batch as one POST request. A subclass defines `encode` and `request`.

    `limits` is an attribute of the class, or a property if it depends on settings. `read_answer` is overridden if the
    target answers for single events, `failure` if a status means something else.
    """

    name: ClassVar[str]
    label: ClassVar[str]
    settings: ClassVar[tuple[Setting, ...]] = ()
    secret: ClassVar[Secret | None] = None
    calls: ClassVar[frozenset[str]] = TRACK_ONLY
    reads_site: ClassVar[bool] = False
    names_fields: ClassVar[bool] = False
    limits: BatchLimits

    def __init__(self, options: Options) -> None:
        self._options = options
        self._client = options.client

    def encode(self, event: Event) -> bytes:
        """Return what the target gets for an event."""
        raise NotImplementedError

    def request(self, batch: Batch) -> Request:
        """Return the request for a batch."""
        raise NotImplementedError

    def deliver(self, batch: Batch) -> Sequence[Outcome]:
        """Send the request of a batch and read the answer. Raises DeliveryError unless the status is 2xx."""
        answer = self._client.send(self.request(batch))
        if not answer.is_success:
            raise self.failure(answer)
        return self.read_answer(answer, batch)

    def read_answer(self, answer: Answer, batch: Batch) -> Sequence[Outcome]:
        """Return the outcome of each event of a batch from an answer with status 2xx: all are delivered."""
        return [DELIVERED] * len(batch.records)

    def failure(self, answer: Answer) -> DeliveryError:
        """Return the error for an answer whose status is not 2xx."""
        return read_failure(answer)

    def preview(self, batch: Batch) -> str:
        """Return the request as text; secrets in its headers, body and URL are masked."""
        request = self.request(batch)
        body = request.body.decode("utf-8", "replace")
        more = f"\n… {len(body) - MAX_PREVIEW:,} more characters" if len(body) > MAX_PREVIEW else ""
        headers = {"Content-Type": request.content_type, **request.headers}
        lines = [f"POST {request.url}", *(f"{name}: {value}" for name, value in headers.items())]
        return self._client.mask("\n".join([*lines, "", body[:MAX_PREVIEW] + more]))

    def test(self, batch: Batch) -> Sequence[Outcome]:
        """Deliver the sample."""
        return self.deliver(batch)


def base_url(options: Options, hosts: Mapping[str, str]) -> str:
    """Return the address of a target's API, without `/` at its end: the setting `url`, else that of its `region`.

    Raises UsageError for an invalid one.
    """
    url = options.settings["url"].rstrip("/")
    try:
        parts = urlsplit(url)
        is_valid = not url or (parts.scheme in {"http", "https"} and bool(parts.hostname) and not parts.query)
    except ValueError:
        is_valid = False
    if not is_valid:
        raise UsageError("the setting url is invalid; write https://host")
    return url or hosts[options.settings["region"]]


def read_object(answer: Answer) -> dict[str, Any]:
    """Return the JSON object of an answer; raise TryLater if it has none, as a repeat is harmless.

    So it is when a proxy answers in place of the target.
    """
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise TryLater("unexpected_answer", answer.text, code=answer.status)
    return found


def read_failure(answer: Answer) -> DeliveryError:
    """Return the error for an answer whose status is not 2xx, by the usual meaning of the status (RFC 9110).

    >>> statuses = (429, 500, 408, 413, 400, 410, 401, 302)
    >>> [type(read_failure(Answer(status, {}, b"", ""))).__name__ for status in statuses]
    ['TryLater', 'TryLater', 'TryLater', 'TooLarge', 'Refused', 'Disabled', 'TryLater', 'TryLater']
    """
    usual = TryLater, "unknown_status"
    error, reason = MEANINGS.get(answer.status) or MEANINGS_BY_CLASS.get(answer.status // 100, usual)
    return error(reason, answer.text, code=answer.status, retry_after=answer.retry_after)
