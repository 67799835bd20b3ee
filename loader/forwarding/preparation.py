"""Prepare stored lines for an integration: which events are sent, with which mapping, encoded."""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime

from loader.forwarding.configuration import Configuration
from loader.forwarding.delivery import Item
from loader.forwarding.eligibility import may_be_sent
from loader.integrations.event import Event, read_events
from loader.integrations.outcomes import EventRejected, EventSkipped, Outcome
from loader.integrations.protocol import Integration, Record
from loader.pipeline.suppression import SuppressionList
from loader.spool.reader import Position

log = logging.getLogger(__name__)


class Preparation:
    """Makes items of lines for one integration."""

    def __init__(
        self,
        configuration: Configuration,
        integration: Integration,
        since: datetime | None = None,
        suppressed: SuppressionList | None = None,
    ) -> None:
        """Events that were received before `since` are skipped, until the first one after it."""
        #: The people whose events are skipped.
        self.suppressed = suppressed
        self._integration = integration
        self._mapping = configuration.read_mapping()
        self._names = integration.label, configuration.name
        self._since = since

    def prepare(self, line: bytes, origin: str, key: str, after: Position) -> Iterator[Item]:
        """Yield an item for each event of a line; one without a record, which is done, for an event that is not sent.

        `after` is the position after the line. Of several items, the last one has it, which is no event.
        """
        events = read_events(line)
        if len(events) == 1:
            yield self._item(events[0], line, origin, key, after)
            return
        for number, event in enumerate(events):
            yield self._item(event, event.line, f"{origin}.{number}", f"{key}-{number}", Position())
        yield Item(None, b"", origin, key, "", after, is_done=True)

    def _item(self, event: Event, line: bytes, origin: str, key: str, after: Position) -> Item:
        item = Item(None, line, origin, key, event.person, after)
        if self._is_too_early(event) or not may_be_sent(event, self._names, self._integration.calls, self.suppressed):
            item.is_done = True
            return item
        try:
            mapped = self._mapping.apply(event)
            body = self._integration.encode(mapped) if mapped else b""
        except EventSkipped:
            mapped, body = None, b""
        except EventRejected as exc:
            item.failure = Outcome("rejected", exc.reason, str(exc))
            return item
        except Exception as exc:  # an error in an integration must not stop the events behind this one
            log.exception("unexpected error in the integration %s, for event %s", self._integration.name, origin)
            reason = "too_deep" if isinstance(exc, RecursionError) else "unexpected"
            item.failure = Outcome("rejected", reason, type(exc).__name__)
            return item
        if mapped is None:
            item.is_done = True
            return item
        limit = self._integration.limits.event_size
        if len(body) > limit:
            item.failure = Outcome("rejected", "too_large", f"{len(body):,} bytes; {limit:,} are allowed")
            return item
        item.record = Record(mapped, body)
        return item

    def _is_too_early(self, event: Event) -> bool:
        if self._since is None:
            return False
        try:
            received = datetime.fromisoformat(event.text("receivedAt") or "")
            is_early = (received if received.tzinfo else received.replace(tzinfo=UTC)) < self._since
        except ValueError:
            is_early = False
        if not is_early:
            self._since = None
        return is_early
