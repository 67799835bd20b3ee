"""What becomes of an event that is sent, and why a request fails as a whole."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one event of a request that was answered.

    `delivered`: the target has it. `retry`: try this event again, after `retry_after` seconds if the target says so;
    later events of the same person wait. `rejected`: the target will never take it; it becomes a dead letter.
    `reason` is a short code of letters, digits and `_` for metrics, `answer` what the target said about the event.
    """

    status: Literal["delivered", "retry", "rejected"]
    reason: str = ""
    answer: str = ""
    retry_after: float | None = None
    code: int | None = None


DELIVERED = Outcome("delivered")


class EventRejected(Exception):  # noqa: N818
    """Raised by `encode` for an event that the target cannot take. `reason` is a short code, the message explains."""

    def __init__(self, reason: str, message: str = "") -> None:
        super().__init__(message or reason)
        self.reason = reason


class EventSkipped(Exception):  # noqa: N818
    """Raised by `encode` for an event that the settings of the integration leave out."""


class DeliveryError(Exception):
    """A request failed as a whole.

    DeliveryError
    ├── TryLater     no event is known to be delivered: try the same events again, after a pause
    ├── TooLarge     the request is too large: try with half of the events; one event alone is rejected
    ├── Refused      the target does not take the request because of an event that it does not name: try with half of
    │                the events, until the one is found, which is rejected
    └── Disabled     the target wants no more requests: pause the integration

    `reason` is a short code of letters, digits and `_` for metrics, `code` the HTTP status if there is one, `answer`
    what the target said, `retry_after` the seconds that it wants us to wait.
    """

    def __init__(
        self, reason: str, answer: str = "", *, code: int | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(f"{reason}: {answer}" if answer else reason)
        self.reason, self.answer, self.code, self.retry_after = reason, answer, code, retry_after


class TryLater(DeliveryError):  # noqa: N818
    """Try the same events again, after a pause."""


class TooLarge(DeliveryError):  # noqa: N818
    """The request is too large."""


class Refused(DeliveryError):  # noqa: N818
    """The target refuses the request because of at least one of its events."""


class Disabled(DeliveryError):  # noqa: N818
    """The target wants no more requests."""
