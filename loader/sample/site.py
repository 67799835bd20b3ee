"""Generate the site's data of the sample, as Segment's warehouse would store it, as a script for psql.

Recipients visit the site by links in e-mails or directly, and some buy. Unknown visitors do the same.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from loader.quoting import quote_identifier
from loader.sample.events import Kind
from loader.sample.mailings import DAY, HOUR, LINKS, MINUTE, YEAR
from loader.sample.ndjson import LAST_DAY, Year, draw_year, iso
from loader.sample.random_draws import Ints, choose, generator, integers, spread

#: Delays in milliseconds from a click to the page view and to an order, as equally spaced quantiles.
ARRIVAL = (700, 1_200, 2_500, 6_000)
PURCHASE = (2 * MINUTE, 9 * MINUTE, 40 * MINUTE, 6 * HOUR, 2 * DAY, 6 * DAY)
#: One click in so many leads to an order, one order in so many is recorded twice.
CLICKS_AN_ORDER, ORDERS_A_REPEAT = 9, 40
BLOCK = 20_000  # rows
NULL = r"\N"

#: The script does nothing if the schema exists.
_BEGIN = """
\\set ON_ERROR_STOP on
select to_regnamespace('{literal}') is not null as is_there \\gset
\\if :is_there
\\quit
\\endif
begin;
create schema {schema};
create table {schema}.users (id text primary key, email text, received_at timestamptz);
create table {schema}.identifies (
    id text primary key, user_id text, anonymous_id text, email text, "timestamp" timestamptz, received_at timestamptz
);
create table {schema}.pages (
    id text primary key, user_id text, anonymous_id text, url text, path text, "timestamp" timestamptz,
    received_at timestamptz
);
create table {schema}.order_completed (
    id text primary key, user_id text, anonymous_id text, order_id text, revenue double precision, currency text,
    "timestamp" timestamptz, received_at timestamptz
);
create index on {schema}.pages (received_at);
create index on {schema}.identifies (received_at);
create index on {schema}.users (received_at);
create index on {schema}.order_completed (received_at);
"""


@dataclass(frozen=True, slots=True)
class Site:
    """Visits and orders: person and time in ms. Numbers beyond the recipients' are those of unknown visitors."""

    emails: list[str]
    visitor: Ints
    visited: Ints
    page: Ints
    buyer: Ints
    bought: Ints
    revenue: Ints  # in cents


def script(events: int, seed: int, schema: str, until: date = LAST_DAY) -> Iterator[bytes]:
    """Yield blocks of a script that creates the schema, with about as many page views as there are e-mail `events`."""
    site = draw_site(draw_year(events, seed, until), events, seed)
    yield _BEGIN.format(schema=quote_identifier(schema), literal=quote_identifier(schema).replace("'", "''")).encode()
    for table, rows in (
        ("users (id, email, received_at)", users(site)),
        ("identifies", identifies(site)),
        ("pages", pages(site)),
        ("order_completed", orders(site)),
    ):
        yield f"copy {quote_identifier(schema)}.{table} from stdin;\n".encode()
        yield from _blocks(rows)
        yield b"\\.\n"
    yield b"commit;\nanalyze;\n"


def draw_site(year: Year, events: int, seed: int) -> Site:
    """Return the visits and orders of the year."""
    rng = generator(seed + 1)
    people = len(year.recipients.emails)
    clicks = np.flatnonzero(year.events.kind == Kind.CLICKED)
    clicker = year.messages.recipient[year.events.message[clicks]].astype(np.int64)
    alone = max(events - len(clicks), 0)
    visitor = np.concatenate([clicker, integers(rng, alone, people * 5 // 3)])
    visited = np.concatenate(
        [
            year.events.time[clicks] + spread(rng, len(clicks), ARRIVAL),
            year.start + integers(rng, alone, YEAR),
        ]
    )
    order = np.argsort(visited, kind="stable")  # as they come in
    visitor, visited = visitor[order], visited[order]
    led = np.arange(len(clicks)) % CLICKS_AN_ORDER == 0
    unled = events // 60
    buyer = np.concatenate([clicker[led], integers(rng, unled, people * 6 // 5)])
    bought = np.concatenate(
        [
            year.events.time[clicks][led] + spread(rng, int(led.sum()), PURCHASE),
            year.start + integers(rng, unled, YEAR),
        ]
    )
    page = choose(rng, len(visitor), tuple(range(len(LINKS))))
    revenue = 995 + 100 * integers(rng, len(buyer), 180)
    return Site(year.recipients.emails, visitor, visited, page, buyer, bought, revenue)


def users(site: Site) -> Iterator[str]:
    """Yield the site's users: all recipients with a user id on the site."""
    for number, email in enumerate(site.emails):
        if user := user_id(site, number):
            yield f"{user}\t{email}\t{iso_day(number)}T12:00:00Z\n"


def iso_day(number: int) -> str:
    """Return a day of the four years before, on which a person was registered."""
    return (date(2021, 1, 1) + timedelta(days=number * 7 % 1461)).isoformat()


def user_id(site: Site, number: int) -> str:
    """Return a person's user id on the site, empty without one; half of those without one in e-mails have one here."""
    if number >= len(site.emails) or number % 16 == 13:
        return ""
    return str(1_000_019 + 37 * number)


def identifies(site: Site) -> Iterator[str]:
    """Yield one identify call per recipient, at the first visit."""
    order = np.argsort(site.visited, kind="stable")
    people, first = np.unique(site.visitor[order], return_index=True)
    known = people < len(site.emails)
    at = site.visited[order][first][known]
    for number, moment in zip(people[known].tolist(), iso(at), strict=True):
        user = user_id(site, number) or NULL
        yield f"i{number}\t{user}\tb{number}\t{site.emails[number]}\t{moment}Z\t{moment}Z\n"


def pages(site: Site) -> Iterator[str]:
    """Yield page views; in one of three the visitor is not logged in."""
    for start in range(0, len(site.visitor), BLOCK):
        block = slice(start, start + BLOCK)
        for row, (visitor, page, moment) in enumerate(
            zip(site.visitor[block].tolist(), site.page[block].tolist(), iso(site.visited[block]), strict=True), start
        ):
            user = user_id(site, visitor) if row % 3 else ""
            path = f"/{LINKS[page][2]}"
            yield f"p{row}\t{user or NULL}\tb{visitor}\thttps://shop.example{path}\t{path}\t{moment}Z\t{moment}Z\n"


def orders(site: Site) -> Iterator[str]:
    """Yield orders; some are recorded twice."""
    rows = zip(site.buyer.tolist(), site.revenue.tolist(), iso(site.bought), strict=True)
    for row, (buyer, cents, moment) in enumerate(rows):
        user = user_id(site, buyer) if row % 4 else ""
        rest = f"{user or NULL}\tb{buyer}\to{row}\t{cents / 100}\tEUR\t{moment}Z\t{moment}Z\n"
        yield f"c{row}\t{rest}"
        if row % ORDERS_A_REPEAT == 7:
            yield f"r{row}\t{rest}"


def _blocks(rows: Iterable[str]) -> Iterator[bytes]:
    block: list[str] = []
    for row in rows:
        block.append(row)
        if len(block) == BLOCK:
            yield "".join(block).encode()
            block.clear()
    yield "".join(block).encode()
