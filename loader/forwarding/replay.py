"""Deliver events once more, to one integration only: of files, of the spool's kept segments, or dead letters."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from itertools import chain
from pathlib import Path

from loader.errors import LoaderError
from loader.forwarding.clock import Clock
from loader.forwarding.configuration import Configuration
from loader.forwarding.cursor import Progress
from loader.forwarding.dead_letters import read_dead_letters, remove_dead_letters, store_dead_letters
from loader.forwarding.delivery import Delivery, Item
from loader.forwarding.preparation import Preparation
from loader.inputs.chunk import CHUNK_SIZE
from loader.inputs.csv import CsvDialect
from loader.inputs.discovery import Days, discover, received_day
from loader.inputs.formats import read_contents
from loader.integrations.event import Event, read_events
from loader.integrations.outcomes import Disabled
from loader.pipeline.suppression import Suppression
from loader.postgres.connection import Warehouse
from loader.spool.reader import Position
from loader.spool.segment_list import SegmentList, find_segment, open_segment

#: Seconds to try an event; the caller waits, so it is less than for events of the log.
RETRY_SECONDS = 600.0

#: A stored line, with the name of its file and its number there.
Line = tuple[str, int, bytes]


@dataclass(slots=True)
class Replayed:
    """Counts of a replay: events delivered, not meant for the integration, and not delivered."""

    delivered: int = 0
    skipped: int = 0
    undelivered: int = 0
    failures: dict[str, int] = field(default_factory=dict)


def replay(warehouse: Warehouse, configuration: Configuration, lines: Iterator[Line], days: Days) -> Replayed:
    """Deliver the events of lines that were received on certain days; those that cannot be delivered are stored.

    Raises LoaderError if the database is away, or the target wants no more requests.
    """
    suppressed = Suppression(warehouse).list
    preparation = Preparation(configuration, integration := configuration.open(), suppressed=suppressed)
    progress = Progress()

    def bury(items: Sequence[Item]) -> None:
        store_dead_letters(warehouse, configuration.integration_id, items)

    delivery = Delivery(integration, progress, bury, clock := Clock(), RETRY_SECONDS)
    deliver_items(delivery, _items(preparation, lines, days, progress), clock)
    return Replayed(
        progress.events_delivered, progress.events_skipped, progress.events_undelivered, dict(progress.failures)
    )


def retry_dead_letters(warehouse: Warehouse, configuration: Configuration) -> Replayed:
    """Deliver the undelivered events of an integration; those that are delivered now are removed.

    Raises LoaderError as `replay` does.
    """
    total, suppressed = Replayed(), Suppression(warehouse).list
    for rows in read_dead_letters(warehouse, configuration.integration_id):
        failed: set[str] = set()
        progress = Progress()

        def bury(items: Sequence[Item], failed: set[str] = failed) -> None:
            store_dead_letters(warehouse, configuration.integration_id, items)
            failed.update(item.origin for item in items)

        preparation = Preparation(configuration, integration := configuration.open(), suppressed=suppressed)
        delivery = Delivery(integration, progress, bury, clock := Clock(), RETRY_SECONDS)
        items = (
            preparation.prepare(bytes(raw), origin, f"retry-{number}", Position("retry", number))
            for number, origin, raw, *_ in rows
        )
        deliver_items(delivery, _counted(chain.from_iterable(items), progress), clock)
        remove_dead_letters(warehouse, [number for number, origin, *_ in rows if origin not in failed])
        total.delivered += progress.events_delivered
        total.skipped += progress.events_skipped
        total.undelivered += len(failed)
        if delivery.is_failing:  # the others would have to wait as long
            break
    return total


def deliver_items(delivery: Delivery, items: Iterator[Item], clock: Clock) -> None:
    """Deliver all items, and wait for retries."""
    is_at_end = False
    while not is_at_end or delivery.waiting:
        while not is_at_end and delivery.has_room():
            item = next(items, None)
            is_at_end = item is None
            if item:
                delivery.add(item)
        delivery.is_flushing = is_at_end
        try:
            wait = delivery.step()
        except Disabled as exc:
            raise LoaderError(f"the target wants no more requests: {exc}") from exc
        delivery.advance()
        if 0 < wait < RETRY_SECONDS * 2:
            clock.wait(wait)


def _items(preparation: Preparation, lines: Iterator[Line], days: Days, progress: Progress) -> Iterator[Item]:
    for uri, number, line in lines:
        if days and not any(_is_received_on(event, days) for event in read_events(line)):
            continue
        key = f"replay-{hashlib.sha256(uri.encode()).hexdigest()[:16]}-{number}"
        yield from _counted(preparation.prepare(line, f"{uri}@{number}", key, Position(key, number)), progress)


def _counted(items: Iterator[Item], progress: Progress) -> Iterator[Item]:
    for item in items:
        progress.events_skipped += item.is_done and bool(item.raw)
        yield item


def _is_received_on(event: Event, days: Days) -> bool:
    """Return whether an event was received on one of these days, by UTC; False if it has no valid time."""
    for name in ("receivedAt", "sentAt", "originalTimestamp", "timestamp"):
        if text := event.text(name):
            try:
                moment = datetime.fromisoformat(text)
            except ValueError:
                continue
            day = (moment.astimezone(UTC) if moment.tzinfo else moment).date()
            return (days.first or date.min) <= day <= (days.last or date.max)
    return False


def read_files(paths: Sequence[str], days: Days) -> Iterator[Line]:
    """Yield the lines of files, folders, globs and URLs, in the formats that `load` reads.

    Files in folders of Segment's archive of other days are not opened. Raises InputError for what cannot be read.
    """
    files, errors = discover(paths)
    if errors:
        raise errors[0]
    for file in files:
        if received_day(file.uri) is not None and not days.have(file.uri):
            continue
        for chunk, _ in read_contents(file, 0, 1, CHUNK_SIZE, CsvDialect(None, None)):
            for n in range(len(chunk.texts)):
                yield file.uri, chunk.line(n), chunk.raw(n).strip()


def read_kept_segments(place: Path, days: Days) -> Iterator[Line]:
    """Yield the lines of the segments of a source that are in the spool, loaded or not, oldest first.

    Raises OSError if a segment cannot be read.
    """
    start = datetime.combine(days.first, datetime.min.time(), UTC).timestamp() if days.first else 0.0
    for name in SegmentList(place).read():
        path = find_segment(place, name)  # the endpoint moves segments meanwhile
        if path is not None and path.stat().st_mtime >= start:
            with open_segment(path) as file:
                yield from ((name, number, line.rstrip(b"\n")) for number, line in enumerate(file, 1))
