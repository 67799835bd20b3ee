"""Generate a year of a mid-size sender's events, as lines in the format of Segment's archive.

The same number of events, seed and last day give the same bytes on every machine.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import numpy as np

from loader.sample.events import Events, Kind, Messages, Transmission, draw_events, draw_messages, first, transmit
from loader.sample.mailings import DAY, YEAR, draw_mailings, links, properties, subscription, year_start
from loader.sample.random_draws import Flags, Ints, generator, scramble
from loader.sample.recipients import APPLE, SCANNER, Recipients, draw_recipients, identity, origin

#: Names of events, by `Kind`.
NAMES = (
    "Email Delivered",
    "Email Opened",
    "Email Opened",
    "Email Link Clicked",
    "Email Link Clicked",
    "Email Bounced",
    "Email Unsubscribed",
    "Unsubscribed",
    "Email Marked as Spam",
    "Email Machine Opened",
)
LINE = (
    '{"type":"track",%s%s,"event":"%s","originalTimestamp":"%sZ",%s"receivedAt":"%sZ","timestamp":"%sZ",'
    '"context":{"library":{"name":"selligent","version":"3.4.1"}%s%s},"properties":{%s%s}}\n'
)
BLOCK = 1_700  # lines, about 1 MB
SCORES_BECOME_WORDS = 181  # days after the start of the year: in 2025, on 1 July
LEVELS = ("low", "medium", "high", "very high")
#: The last day of the sample, unless another one is asked for.
LAST_DAY = date(2025, 12, 31)


@dataclass(frozen=True, slots=True)
class Year:
    """The events of the year from `start`, and the texts of each mailing for their lines."""

    start: int
    recipients: Recipients
    messages: Messages
    events: Events
    transmission: Transmission
    salt: int
    renamed_at: Ints
    scored: list[bool]
    properties: list[list[str]]
    links: list[list[str]]
    subscriptions: list[str]


@dataclass(frozen=True, slots=True)
class Block:
    """The events of successive lines, with a list for each variable part of a line."""

    number: list[int]
    kind: list[int]
    mailing: list[int]
    recipient: list[int]
    link: list[int]
    noise: list[int]
    renamed: list[bool]
    worded: list[bool]
    original: list[str]
    sent: list[str]
    received: list[str]
    timestamp: list[str]


def lines(events: int, seed: int, until: date = LAST_DAY) -> Iterator[bytes]:
    """Yield exactly `events` NDJSON lines of the year that ends with `until`, in blocks of about 1 MB."""
    year = draw_year(events, seed, until)
    for start in range(0, events, BLOCK):
        numbers = year.transmission.order[start : start + BLOCK].astype(np.int64)
        yield render(take(year, numbers), year)


def draw_year(lines: int, seed: int, until: date = LAST_DAY) -> Year:
    """Generate the events for a number of lines, of which one in 200 is a repetition."""
    rng, start = generator(seed), year_start(until)
    mailings = draw_mailings(rng, lines, start)
    recipients = draw_recipients(rng, 150 + lines // 15)
    # More messages than needed: each has about 1.6 events, and the surplus is left out.
    messages = draw_messages(rng, min(lines + 1, 100 + lines * 7 // 10), mailings, len(recipients.emails))
    events = first(lines - lines // 200, draw_events(rng, messages, mailings, recipients), start + YEAR)
    return Year(
        start,
        recipients,
        messages,
        events,
        transmission=transmit(rng, lines, events.time),
        # Samples with other last days have other message ids, so that one database can hold several.
        salt=(int(rng.random() * 2**53) + ((until - LAST_DAY).days << 32)) % 2**60,
        renamed_at=np.array([mailing.campaign.renamed_at for mailing in mailings]),
        scored=[mailing.scored for mailing in mailings],
        properties=[properties(mailing) for mailing in mailings],
        links=[links(mailing) for mailing in mailings],
        subscriptions=[subscription(mailing) for mailing in mailings],
    )


def take(year: Year, numbers: Ints) -> Block:
    """Return the events of some numbers."""
    message = year.events.message[numbers]
    mailing = year.messages.mailing[message]
    original, sent, received, timestamp = times(year, numbers)
    return Block(
        number=numbers.tolist(),
        kind=year.events.kind[numbers].tolist(),
        mailing=mailing.tolist(),
        recipient=year.messages.recipient[message].tolist(),
        link=year.events.link[numbers].tolist(),
        noise=scramble(numbers, year.salt).tolist(),
        renamed=(timestamp >= year.renamed_at[mailing]).tolist(),
        worded=(timestamp >= year.start + SCORES_BECOME_WORDS * DAY).tolist(),
        original=iso(original),
        sent=[f'"sentAt":"{at}Z",' if at else "" for at in np.where(unsent(numbers), "", iso(sent)).tolist()],
        received=iso(received),
        timestamp=iso(timestamp),
    )


def times(year: Year, numbers: Ints) -> tuple[Ints, Ints, Ints, Ints]:
    """Return originalTimestamp and sentAt, by the sender's clock, receivedAt and timestamp, in milliseconds."""
    happened, queued = year.events.time[numbers], year.transmission.queued[numbers].astype(np.int64)
    original = happened + happened // DAY * 37 % 301 - 150  # the sender's clock is wrong, every day by another amount
    sent, received = original + queued, happened + queued + year.transmission.travelled[numbers]
    return original, sent, received, np.where(unsent(numbers), original, received - (sent - original))


def unsent(numbers: Ints) -> Flags:
    """Return which events have no `sentAt`."""
    missing: Flags = numbers % 307 == 11
    return missing


def iso(milliseconds: Ints) -> list[str]:
    """Return times as ISO 8601 without the zone.

    >>> iso(np.array([1_735_689_600_000]))
    ['2025-01-01T00:00:00.000']
    """
    texts: list[str] = np.datetime_as_string(milliseconds.astype("M8[ms]")).tolist()
    return texts


def render(block: Block, year: Year) -> bytes:
    """Return the lines of a block."""
    columns = (
        message_ids(block, year.salt),
        [identity(year.recipients, recipient) for recipient in block.recipient],
        [NAMES[kind] for kind in block.kind],
        block.original,
        block.sent,
        block.received,
        block.timestamp,
        origins(block, year.recipients),
        traits(block, year.recipients),
        mailing_properties(block, year),
        own_properties(block, year),
    )
    return "".join(map(LINE.__mod__, zip(*columns, strict=True))).encode()


def message_ids(block: Block, salt: int) -> list[str]:
    """Return the member `messageId`, a UUID of version 4. A few deliveries have none: their content is unique."""
    more = scramble(np.array(block.number, np.int64), salt ^ 1 << 60).tolist()
    return [
        "" if kind == Kind.DELIVERED and number % 251 == 5 else f'"messageId":"{uuid(high, low)}",'
        for number, kind, high, low in zip(block.number, block.kind, block.noise, more, strict=True)
    ]


def uuid(high: int, low: int) -> str:
    """Return a UUID of version 4 from two words of 64 bits.

    >>> uuid(0, 0)
    '00000000-0000-4000-8000-000000000000'
    """
    digits = f"{high & ~0xF000 | 0x4000:016x}{low & 0x3FFFFFFFFFFFFFFF | 0x8000000000000000:016x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def origins(block: Block, recipients: Recipients) -> list[str]:
    """Return the IP address and user agent of opens and clicks; some events have none."""
    return [
        "" if device is None or number % 37 == 3 else origin(device, recipient, noise)
        for number, device, recipient, noise in zip(
            block.number, devices(block, recipients), block.recipient, block.noise, strict=True
        )
    ]


def devices(block: Block, recipients: Recipients) -> Iterator[int | None]:
    """Yield the device of each event, None for the reports of mail servers."""
    reader, browser = recipients.reader, recipients.browser
    for kind, recipient in zip(block.kind, block.recipient, strict=True):
        match kind:
            case Kind.OPENED:
                yield int(reader[recipient])
            case Kind.CLICKED | Kind.UNSUBSCRIBED | Kind.UNSUBSCRIBED_SHORT:
                yield int(browser[recipient])
            case Kind.PREFETCHED | Kind.MACHINE_OPENED:
                yield APPLE
            case Kind.SCANNED:
                yield SCANNER
            case _:
                yield None


def traits(block: Block, recipients: Recipients) -> list[str]:
    """Return the recipient's e-mail address, for nineteen events in twenty."""
    return [
        f',"traits":{{"email":"{recipients.emails[recipient]}"}}' if number % 20 else ""
        for number, recipient in zip(block.number, block.recipient, strict=True)
    ]


def mailing_properties(block: Block, year: Year) -> list[str]:
    """Return the properties of the mailing; in some events the subject is null or missing."""
    return [
        year.properties[mailing][3 * renamed + (1 if number % 97 == 11 else 2 if number % 131 == 7 else 0)]
        for number, mailing, renamed in zip(block.number, block.mailing, block.renamed, strict=True)
    ]


def own_properties(block: Block, year: Year) -> list[str]:
    """Return properties of some kinds only: link, list, or a score: a number for half a year, then a word."""
    own = []
    for kind, mailing, link, noise, worded in zip(
        block.kind, block.mailing, block.link, block.noise, block.worded, strict=True
    ):
        match kind:
            case Kind.CLICKED | Kind.SCANNED:
                own.append(f",{year.links[mailing][link]}")
            case Kind.UNSUBSCRIBED | Kind.UNSUBSCRIBED_SHORT:
                own.append(f",{year.subscriptions[mailing]}")
            case Kind.OPENED | Kind.PREFETCHED if year.scored[mailing]:
                score = noise % 100
                own.append(f',"engagement_score":"{LEVELS[score // 25]}"' if worded else f',"engagement_score":{score}')
            case _:
                own.append("")
    return own
