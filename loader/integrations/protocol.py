"""The protocol between the forwarder and an integration.

The forwarder reads events, asks whether each may be sent, applies the mapping, encodes each event with the integration,
collects batches within its limits, retries, and stores what cannot be delivered. An integration is a class with

- class attributes that describe it: `name`, `label`, `settings`, `secret`, `calls`;
- `encode`, which returns what the target gets for one event;
- `deliver`, which sends a batch and returns one outcome for each of its events, or raises a DeliveryError (both in
  `loader.integrations.outcomes`);
- `preview`, which returns the request of a batch as text, and `test`, which sends a sample, for `integrations test`.

Most targets take one HTTP request for a batch: derive from `loader.integrations.over_http.HttpIntegration`, which has
`deliver`, `preview` and `test`, and write `request` and, if the target answers for single events, `read_answer`.

    class MyTarget(HttpIntegration):
        \"\"\"What it sends, and the source of the field names and limits.\"\"\"

        name, label = "my-target", "My Target"
        settings = (Setting("region", "Where the project is.", "us", choices=("us", "eu")),)
        secret = Secret("The API key of the project.")
        limits = BatchLimits(events=1000, size=1_000_000, event_size=32_768)

        def encode(self, event: Event) -> bytes:
            return encode({"event": event.name, "insert_id": event.message_id, "properties": event.properties})

        def request(self, batch: Batch) -> Request:
            return Request("https://api.example.com/batch", b"[" + b",".join(batch.bodies) + b"]")

Built-in integrations are listed in `loader.integrations.registry`; others are found by the entry point group
`selligent_loader.integrations`, whose entries lead to such a class. `tests/integrations/test_segment.py` shows how an
integration is tested: a server on this machine records the requests and gives prepared answers.

What holds for every integration:

- `deliver` may be called again with events that the target has stored, after a crash or an answer that was lost. Send
  the key by which the target finds repeats, made from `Event.message_id`; it never changes. If the target has no such
  key, say so in its document.
- The events of a batch are in the order in which they were received, and stay so in the request.
- Errors carry the answer of the target, without secrets. No text contains a secret; `Answer.text` is safe, because the
  client masks the secret that it was made with.
- An integration keeps no state between batches, apart from connections.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from loader.errors import UsageError
from loader.integrations.event import Event
from loader.integrations.http import HttpClient
from loader.integrations.outcomes import Outcome

#: The calls of the tracking API.
ALL_CALLS = frozenset({"track", "identify", "page", "screen", "group", "alias"})
TRACK_ONLY = frozenset({"track"})


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting of an integration, `--set name=value`. Without a default it has to be given."""

    name: str
    help: str
    default: str | None = None
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Secret:
    """What the secret of an integration is, for help and errors."""

    help: str
    is_optional: bool = False


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """Limits of a batch: events, bytes of all encoded events with one byte between them, bytes of one encoded event.

    A larger event is never sent; it is rejected as `too_large`. `wait` is for how many seconds more events are awaited
    before a batch is sent that is not full.
    """

    events: int
    size: int
    event_size: int
    wait: float = 0.0


@dataclass(frozen=True, slots=True)
class Options:
    """What an integration is created with. All settings are present, checked against `choices`."""

    settings: Mapping[str, str]
    client: HttpClient
    secret: str = field(default="", repr=False)

    def number(self, name: str, maximum: int) -> int:
        """Return a setting that is a number from 1 to a maximum; raise UsageError if it is not."""
        text = self.settings[name]
        if not (text.isascii() and text.isdecimal() and len(text) < 10 and 0 < int(text) <= maximum):
            raise UsageError(f"the setting {name} is {text!r}; write a number from 1 to {maximum}")
        return int(text)


@dataclass(frozen=True, slots=True)
class Record:
    """An event and its encoded form, by `Integration.encode`."""

    event: Event
    body: bytes


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive events. `key` names the place of the first one: letters, digits and `-`.

    After a crash a batch with the same key begins with the same event, but may have more or fewer events.
    """

    key: str
    records: Sequence[Record]

    @property
    def bodies(self) -> list[bytes]:
        """The encoded events."""
        return [record.body for record in self.records]


class Integration(Protocol):
    """A kind of target. An instance belongs to one thread."""

    #: Name in `integrations add`.
    name: ClassVar[str]
    #: Name in the `integrations` object of events, as Segment writes it; case counts.
    label: ClassVar[str]
    settings: ClassVar[tuple[Setting, ...]]
    #: None if the target needs no secret.
    secret: ClassVar[Secret | None]
    #: The calls that the target takes. Others are skipped.
    calls: ClassVar[frozenset[str]]
    #: Whether it gets the calls of the company's site and apps instead of the e-mail events; False if it is missing.
    reads_site: ClassVar[bool]
    #: Whether its settings name each field that is sent, so that personal data need not be left out before; False if it
    #: is missing.
    names_fields: ClassVar[bool]

    def __init__(self, options: Options) -> None:
        """Check the settings and the secret; raise UsageError for invalid ones. Connect to nothing."""

    @property
    def limits(self) -> BatchLimits:
        """The limits of a batch."""

    def encode(self, event: Event) -> bytes:
        """Return what the target gets for an event.

        Called once for each event, before batches are made, so it must be fast and always give the same bytes for the
        same event. Raises EventRejected if the target cannot take it, EventSkipped if the settings leave it out.
        """

    def deliver(self, batch: Batch) -> Sequence[Outcome]:
        """Send a batch that has at least one event; return one outcome for each event, in their order.

        Raises DeliveryError if the request failed as a whole. Other exceptions are treated as TryLater with the reason
        `unexpected`.
        """

    def preview(self, batch: Batch) -> str:
        """Return the request for a batch as text, without secrets."""

    def test(self, batch: Batch) -> Sequence[Outcome]:
        """Send a sample as `deliver` does, if possible so that the target checks it and does not store it."""
