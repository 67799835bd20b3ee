"""Generate the sample's events as arrays: messages, reactions to them, and the order of the lines.

Rare kinds occur in a fixed cycle over the messages, so that a small sample has some of each.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from loader.sample.mailings import DAY, HOUR, MINUTE, Mailing
from loader.sample.random_draws import Flags, Ints, choose, integers, spread
from loader.sample.recipients import Recipients


class Kind(IntEnum):
    """The kind of an event, more specific than its name."""

    DELIVERED = 0
    OPENED = 1
    PREFETCHED = 2
    CLICKED = 3
    SCANNED = 4
    BOUNCED = 5
    UNSUBSCRIBED = 6
    UNSUBSCRIBED_SHORT = 7
    COMPLAINED = 8
    MACHINE_OPENED = 9


#: Delays in milliseconds, as equally spaced quantiles.
BURST = (0, 4_000, 9_000, 14_000, 21_000, 30_000, 42_000, 60_000)  # for a burst of one minute
OPEN = tuple(m * MINUTE for m in (0, 2, 6, 13, 25, 42, 65, 100, 150, 220, 330, 500, 750, 1200, 2000, 4300, 20_000))
REOPEN = tuple(m * MINUTE for m in (0, 1, 4, 30, 180, 900, 2000, 12_000))
CLICK = (3_000, 9_000, 17_000, 28_000, 45_000, 90_000, 300_000)
PREFETCH = (800, 2_000, 4_000, 7_000, 12_000, 25_000)
SCAN = (500, 700, 1_000, 1_900)
BOUNCE = (300, 800, 2_000, 30_000, HOUR, 12 * HOUR)
COMPLAINT = (MINUTE, 10 * MINUTE, HOUR, 8 * HOUR)
QUEUE = (150, 300, 500, 900, 2_000, 9_000)
OUTAGE = (HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR)
REPEAT = (1_000, 10_000, MINUTE, 10 * MINUTE, 6 * HOUR)

#: Number of further opens of an opened message, of further clicks of a clicked one, and index of the link.
REOPENS = (0, 0, 0, 0, 0, 0, 1, 1, 2, 4)
RECLICKS = (0, 0, 0, 0, 1, 2)
LINK = (0, 0, 0, 0, 1, 1, 2, 2, 3, 4, 5)

STRIDE = 15_485_863  # a prime above any number of recipients: a mailing reaches all before it repeats one


@dataclass(frozen=True, slots=True)
class Messages:
    """The mailing, the recipient and the time of each message."""

    mailing: NDArray[np.int32]
    recipient: NDArray[np.int32]
    sent: Ints


@dataclass(frozen=True, slots=True)
class Events:
    """The kind, message and time of each event, and for clicks the index of the link."""

    kind: NDArray[np.int8]
    message: NDArray[np.int32]
    time: Ints
    link: NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Transmission:
    """How events arrive: milliseconds in the sender's queue and in transit, and the order of the lines."""

    queued: NDArray[np.int32]
    travelled: NDArray[np.int32]
    order: NDArray[np.int32]  #: index of each line's event; a repeated event occurs twice


def draw_messages(rng: np.random.Generator, count: int, mailings: Sequence[Mailing], people: int) -> Messages:
    """Return `count` messages of all mailings, unordered; `sent` is when the receiving server accepted them."""
    weights = np.cumsum([mailing.weight for mailing in mailings])
    mailing = np.searchsorted(weights, integers(rng, count, int(weights[-1])), side="right").astype(np.int32)
    begin, days, minutes, among = (
        np.array([getattr(one, name) for one in mailings]) for name in ("begin", "days", "minutes", "among")
    )
    sent = integers(rng, count, days[mailing]) * DAY
    sent += spread(rng, count, BURST) * minutes[mailing]
    sent += begin[mailing]
    turn = ranks(mailing) % (people // among)[mailing]
    recipient = (integers(rng, len(mailings), people)[mailing] + turn * STRIDE) % people
    return Messages(mailing, recipient.astype(np.int32), sent)


def ranks(groups: Ints | NDArray[np.int32]) -> Ints:
    """Return the number of equal entries before each entry.

    >>> ranks(np.array([7, 3, 7, 7, 3])).tolist()
    [0, 0, 1, 2, 1]
    """
    order = np.argsort(groups, kind="stable")
    grouped = groups[order]
    rank = np.empty(len(groups), np.int64)
    rank[order] = np.arange(len(groups)) - np.searchsorted(grouped, grouped)
    return rank


def draw_events(
    rng: np.random.Generator, messages: Messages, mailings: Sequence[Mailing], recipients: Recipients
) -> Events:
    """Return the events of all messages, those of one kind together."""
    number = np.arange(len(messages.sent))
    reached = number % 66 != 7
    links = np.array([mailing.links for mailing in mailings])[messages.mailing]
    drawn = [
        *receipts(rng, messages, reached),
        *machines(rng, messages, reached, recipients, links),
        *readings(rng, messages, reached, recipients, links),
        *opt_outs(rng, messages, reached),
    ]
    return concatenate(drawn)


def batch(kind: Kind, message: Ints, time: Ints, link: Ints | None = None) -> Events:
    """Return events of one kind."""
    links = np.zeros(len(message), np.int8) if link is None else link.astype(np.int8)
    return Events(np.full(len(message), kind, np.int8), message.astype(np.int32), time, links)


def receipts(rng: np.random.Generator, messages: Messages, reached: Flags) -> Iterator[Events]:
    """Yield deliveries and bounces: one bounce in ten follows a delivery, a few deliveries go unreported."""
    number = np.arange(len(reached))
    delivered = np.flatnonzero((reached | (number % 660 == 7)) & (number % 997 != 13))
    bounced = np.flatnonzero(~reached)
    yield batch(Kind.DELIVERED, delivered, messages.sent[delivered])
    yield batch(Kind.BOUNCED, bounced, messages.sent[bounced] + spread(rng, len(bounced), BOUNCE))


def machines(
    rng: np.random.Generator, messages: Messages, reached: Flags, recipients: Recipients, links: Ints
) -> Iterator[Events]:
    """Yield the events of machines: Apple's prefetches, clicks of a link scanner, opens marked as a machine's."""
    private = np.flatnonzero(reached & recipients.private[messages.recipient] & (rng.random(len(reached)) < 0.93))
    yield batch(Kind.PREFETCHED, private, messages.sent[private] + spread(rng, len(private), PREFETCH))
    scanned = np.flatnonzero(reached & recipients.scanned[messages.recipient])
    scanned = np.repeat(scanned, links[scanned])
    yield batch(Kind.SCANNED, scanned, messages.sent[scanned] + spread(rng, len(scanned), SCAN), ranks(scanned))
    known = np.flatnonzero(reached & (np.arange(len(reached)) % 4000 == 110))
    yield batch(Kind.MACHINE_OPENED, known, messages.sent[known] + spread(rng, len(known), PREFETCH))


def readings(
    rng: np.random.Generator, messages: Messages, reached: Flags, recipients: Recipients, links: Ints
) -> Iterator[Events]:
    """Yield opens and clicks of people: one reader in nine clicks, a few of them without loading images."""
    eager = integers(rng, len(reached), 1000) < recipients.eagerness[messages.recipient]
    unseen = np.arange(len(reached)) % 400 == 29
    read = np.flatnonzero(reached & (eager | unseen))
    time = messages.sent[read] + spread(rng, len(read), OPEN)
    opened = np.flatnonzero(~unseen[read])
    again = np.repeat(opened, choose(rng, len(opened), REOPENS))
    yield batch(Kind.OPENED, read[opened], time[opened])
    yield batch(Kind.OPENED, read[again], time[again] + spread(rng, len(again), REOPEN))
    clicking = np.flatnonzero(unseen[read] | (integers(rng, len(read), 9) == 0))
    clicks = np.repeat(clicking, 1 + choose(rng, len(clicking), RECLICKS))
    link = choose(rng, len(clicks), LINK) % links[read[clicks]]
    yield batch(Kind.CLICKED, read[clicks], time[clicks] + spread(rng, len(clicks), CLICK), link)


def opt_outs(rng: np.random.Generator, messages: Messages, reached: Flags) -> Iterator[Events]:
    """Yield unsubscriptions, under both of their names, and spam complaints."""
    number = np.arange(len(reached))
    for kind, period, offset in (
        (Kind.UNSUBSCRIBED, 600, 60),
        (Kind.UNSUBSCRIBED_SHORT, 2400, 90),
        (Kind.COMPLAINED, 5000, 40),
    ):
        message = np.flatnonzero(reached & (number % period == offset))
        yield batch(kind, message, messages.sent[message] + spread(rng, len(message), COMPLAINT))


def concatenate(batches: Sequence[Events]) -> Events:
    """Concatenate several batches of events."""
    return Events(*(np.concatenate([getattr(batch, name) for batch in batches]) for name in Events.__slots__))


def first(count: int, events: Events, end: int) -> Events:
    """Return the first `count` events before `end`, in the order of their messages."""
    kept = np.flatnonzero(events.time < end)
    kept = kept[np.argsort(events.message[kept], kind="stable")[:count]]
    return Events(events.kind[kept], events.message[kept], events.time[kept], events.link[kept])


def transmit(rng: np.random.Generator, lines: int, time: Ints) -> Transmission:
    """Order lines mostly by time of receipt: some events are hours late, some lines are delayed, some repeated."""
    number = np.arange(len(time), dtype=np.int32)
    queued = spread(rng, len(time), QUEUE)
    delay(rng, queued, number % 121 == 31)
    travelled = 20 + integers(rng, len(time), 180)
    position = time + queued + travelled + integers(rng, len(time), 2000)
    delay(rng, position, number % 251 == 17)
    repeated = integers(rng, lines - len(time), len(time))
    position = np.concatenate([position, position[repeated] + spread(rng, len(repeated), REPEAT)])
    order = np.concatenate([number, repeated.astype(np.int32)])[np.argsort(position, kind="stable")]
    return Transmission(queued.astype(np.int32), travelled.astype(np.int32), order)


def delay(rng: np.random.Generator, time: Ints, which: Flags) -> None:
    """Delay some of the times by hours, in place."""
    late = np.flatnonzero(which)
    time[late] += spread(rng, len(late), OUTAGE)
