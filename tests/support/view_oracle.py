"""A second implementation of the views' definitions in pandas and plain Python, written independently of the SQL."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd

OPENS = ("email_opened", "email_machine_opened")
CLICK, DELIVERY, BOUNCE = "email_link_clicked", "email_delivered", "email_bounced"
MODELS = {
    "last_human_click": ({"human_click"}, timedelta(days=5)),
    "last_click": ({"human_click", "click"}, timedelta(days=3)),
    "last_touch": ({"human_click", "click", "open"}, timedelta(days=5)),
    "last_delivery": ({"delivery"}, timedelta(days=3)),
    "linear_clicks": ({"human_click", "click"}, timedelta(days=5)),
}
#: Revenue as it is sent: the amount, and the currency within it.
AMOUNTS: dict[str, tuple[Decimal | None, str | None]] = {
    "7": (Decimal(7), None),
    "19.99": (Decimal("19.99"), None),
    "-7.50": (Decimal("-7.50"), None),
    "1,234.56": (Decimal("1234.56"), None),
    "1.234,56": (Decimal("1234.56"), None),
    "1\u202f234,5": (Decimal("1234.5"), None),
    "€ 1.234,56": (Decimal("1234.56"), "EUR"),
    "-€ 20": (Decimal(-20), "EUR"),
    " 12 usd ": (Decimal(12), "USD"),
    "12,5 EUR": (Decimal("12.5"), "EUR"),
    "£5": (Decimal(5), "GBP"),
    "$9.90": (Decimal("9.90"), "$"),
    "1,234": (None, None),
    "€ 1.234": (None, None),
    "NaN": (None, None),
    "Infinity": (None, None),
    "a lot": (None, None),
    " ": (None, None),
}
LATEST = datetime(9999, 1, 1, tzinfo=UTC)
EARLIEST = datetime(1, 1, 1, tzinfo=UTC)


#: Blanks that are cut off at the ends.
BLANKS = " \t\r\n\u00a0\u2003\u200b\u3000\ufeff"
#: The default of the setting placeholder_ids.
PLACEHOLDERS = frozenset(
    "|null|undefined|none|nil|nan|0|-1|true|false|[object object]|anonymous|guest|unknown|n/a".split("|")  # noqa: SIM905
)


def identifier(sent: str | None) -> str | None:
    """Return an identifier as it was sent, None for what stands for nobody."""
    return None if sent is None or sent.strip(BLANKS).casefold() in PLACEHOLDERS else sent


def address(sent: str | None) -> str | None:
    """Return an address in one spelling, None for text that is no address; the domain is encoded by Python's codec.

    >>> address(" Ann+News@BÜCHER.example\u00a0"), address("ann"), address("@x"), address("a n@x"), address(None)
    ('ann+news@xn--bcher-kva.example', None, None, None, None)
    """
    mailbox, at, domain = unicodedata.normalize("NFC", (identifier(sent) or "").strip(BLANKS)).lower().rpartition("@")
    if not (mailbox and at and domain) or any(letter in BLANKS for letter in mailbox + domain):
        return None
    return f"{mailbox}@{domain.encode('idna').decode()}"


@dataclass(frozen=True)
class Event:
    """A stored e-mail event."""

    id: str
    event: str
    at: datetime
    original: datetime | None
    campaign: str = ""
    name: str | None = None
    email: str = ""
    user: str | None = None
    anonymous: str | None = None
    trait: str | None = None
    link: str | None = None
    agent: str | None = None
    #: Properties that may be dimensions, as they are stored.
    properties: tuple[tuple[str, str], ...] = ()

    @property
    def known_user(self) -> str | None:
        return identifier(self.user)

    @property
    def address(self) -> str | None:
        sent = (self.trait,) if self.known_user else (self.anonymous, self.trait)
        return next(filter(None, map(address, sent)), None)

    @property
    def recipient(self) -> str:
        return self.known_user or self.address or (identifier(self.anonymous) or "").strip(BLANKS).lower()

    @property
    def has_placeholder(self) -> bool:
        """Whether something stands in for its user id, or for all it is named by."""
        return not self.known_user and (self.user is not None or not self.recipient)


@dataclass(frozen=True)
class Identify:
    """An identify call on the site, or a row of its users table."""

    at: datetime
    user: str | None
    anonymous: str | None
    email: str | None


@dataclass(frozen=True)
class Visit:
    """A page view."""

    id: str
    at: datetime
    user: str | None
    anonymous: str | None


@dataclass(frozen=True)
class Order(Visit):
    """A conversion or a refund: its number, its revenue and its currency as they were sent."""

    number: str | None
    sent: str | None
    money: str | None = None
    is_refund_event: bool = False

    @property
    def order(self) -> str | None:
        """The number, if it is one."""
        return identifier(self.number)

    @property
    def revenue(self) -> Decimal | None:
        """The revenue; negative for a refund."""
        amount = AMOUNTS[self.sent][0] if self.sent else None
        return -abs(amount) if amount is not None and self.is_refund_event else amount

    @property
    def currency(self) -> str | None:
        """The currency that was sent with the revenue, else within it."""
        named = (self.money or "").strip().upper()
        return named or (AMOUNTS[self.sent][1] if self.sent else None)

    @property
    def is_refund(self) -> bool:
        return self.is_refund_event or (self.revenue or 0) < 0

    @property
    def is_unread(self) -> bool:
        """Whether there is a revenue that cannot be read; a refund needs one."""
        return self.revenue is None and (bool((self.sent or "").strip()) or self.is_refund_event)


@dataclass
class World:
    """The events in e-mails and on the site, and the settings that affect the views."""

    events: list[Event] = field(default_factory=list)
    identifies: list[Identify] = field(default_factory=list)
    visits: list[Visit] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    #: Exchange rates by the day on which they begin and their currency.
    rates: list[tuple[date, str, Decimal]] = field(default_factory=list)
    #: The setting reporting_currency.
    currency: str = ""
    zone: str = "UTC"
    transactional: frozenset[str] = frozenset()
    burst_links: int = 3
    #: The setting dimensions.
    dimensions: tuple[str, ...] = ()


@dataclass
class Judged:
    """An event with the attributes that the views add."""

    event: Event
    person: str
    matched_by: str
    delivery: int = 0
    delivered_at: datetime | None = None
    first_delivered_at: datetime | None = None
    actor: str | None = None
    rule: str | None = None

    @property
    def mailing(self) -> tuple[str, str, str]:
        return self.person, self.event.campaign, self.event.email

    @property
    def message(self) -> tuple[str, str, str, int]:
        return *self.mailing, self.delivery


class Metrics:
    """The figures that the views have for a world."""

    def __init__(self, world: World, reporting_currency: str | None = None) -> None:
        self.world = world
        self.reporting_currency = reporting_currency
        self.owners = dict(self._owners())
        self.visitors = self._visitors()
        self.events = [self._match(event) for event in world.events]
        for mailing in grouped(self.events, lambda judged: judged.mailing).values():
            self._number(mailing)
        for message in grouped(self.events, lambda judged: judged.message).values():
            self._judge(message)
        self.messages = {key: self._message(rows) for key, rows in grouped(self.events, lambda j: j.message).items()}
        self.dimensions = {
            key: self._dimensions(rows) for key, rows in grouped(self.events, lambda j: j.message).items()
        }
        self.orders = self._distinct_orders()
        self.refunds = [order for order in world.orders if order.is_refund]
        self.credits = [credit for order in self.orders for model in MODELS for credit in self._credit(order, model)]
        self.refund_credits = [
            (refund.id, *credit[1:])
            for refund in self.refunds
            for model in MODELS
            for credit in self._credit(self._refunded(refund), model)
        ]

    def _owners(self) -> Iterator[tuple[str, set[str]]]:
        """Yield each address with the users who identified with it last; with several, the address has no owner."""
        latest: dict[str, dict[str, datetime]] = defaultdict(dict)
        said = [(address(call.email), identifier(call.user), call.at) for call in self.world.identifies]
        said += [(event.address, event.known_user, event.at) for event in self.world.events]
        for named, user, at in said:
            if named and user:
                latest[named][user] = max(at, latest[named].get(user, at))
        for named, users in latest.items():
            yield named, {user for user, at in users.items() if at == max(users.values())}

    def _owner(self, email: str | None) -> str | None:
        owners = self.owners.get(email or "", set())
        return next(iter(owners)) if len(owners) == 1 else None

    def _visitors(self) -> dict[str, str]:
        """Return each browser's person: the last one; at once a user id, then the smaller name."""
        known: dict[str, list[tuple[datetime, bool, str]]] = defaultdict(list)
        for call in self.world.identifies:
            email, browser = address(call.email), identifier(call.anonymous)
            person = identifier(call.user) or self._owner(email) or email
            if browser and person:
                known[browser].append((call.at, not identifier(call.user), person))
        latest = {browser: max(at for at, *_ in calls) for browser, calls in known.items()}
        return {
            browser: min(call[1:] for call in calls if call[0] == latest[browser])[1]
            for browser, calls in known.items()
        }

    def person_on_site(self, visit: Visit) -> str | None:
        return identifier(visit.user) or self.visitors.get(identifier(visit.anonymous) or "")

    def _match(self, event: Event) -> Judged:
        if event.known_user:
            return Judged(event, event.known_user, "user_id")
        owners = self.owners.get(event.recipient, set())
        person, matched_by = event.recipient, "ambiguous" if owners else "none"
        if len(owners) == 1:
            person, matched_by = next(iter(owners)), "email"
        return Judged(event, person, "placeholder" if event.has_placeholder else matched_by)

    @staticmethod
    def _number(mailing: list[Judged]) -> None:
        """Assign each event to the latest delivery before it."""
        deliveries = [j.event.at for j in mailing if j.event.event == DELIVERY]
        number, delivered_at = 0, None
        for judged in sorted(mailing, key=moment):
            if judged.event.event == DELIVERY:
                number, delivered_at = number + 1, judged.event.at
            judged.delivery, judged.delivered_at = number, delivered_at
            judged.first_delivered_at = min(deliveries, default=None)

    def _judge(self, message: list[Judged]) -> None:
        bursts: list[list[Judged]] = []
        for judged in sorted((j for j in message if j.event.event == CLICK), key=moment):
            if bursts and judged.event.at - bursts[-1][-1].event.at <= timedelta(seconds=2):
                bursts[-1].append(judged)
            else:
                bursts.append([judged])
        mechanical = [
            j for burst in bursts if len({k.event.link for k in burst}) >= self.world.burst_links for j in burst
        ]
        for judged in message:
            judged.rule = self._rule(judged, in_burst=any(judged is other for other in mechanical))
            if judged.rule:
                human = {"proxy": "human", "otherwise": "human", "no_evidence": "unknown"}
                judged.actor = human.get(judged.rule, "machine")

    @staticmethod
    def _rule(judged: Judged, *, in_burst: bool) -> str | None:
        event, agent = judged.event, judged.event.agent or ""
        if event.event not in {*OPENS, CLICK}:
            return None
        if event.event == "email_machine_opened":
            return "reported"
        if event.event == "email_opened" and re.search("GoogleImageProxy|YahooMailProxy", agent):
            return "proxy"
        if agent == "Mozilla/5.0" or "scanner" in agent:
            return "agent"
        if in_burst:
            return "burst"
        if judged.delivered_at and event.at - judged.delivered_at < timedelta(seconds=5):
            return "too_soon"
        return "no_evidence" if judged.delivered_at is None and event.agent is None else "otherwise"

    @staticmethod
    def _address(rows: Sequence[Judged]) -> str | None:
        """Return the address of the delivery, else of the latest bounce, else of the latest other event."""
        named = sorted((j for j in rows if j.event.address), key=lambda j: j.event.id)
        named.sort(key=lambda j: j.event.at, reverse=True)
        named.sort(key=lambda j: (j.event.event != DELIVERY, j.event.event != BOUNCE))
        return named[0].event.address if named else None

    def values(self, event: Event) -> tuple[str | None, ...]:
        """Return the dimensions of an event."""
        return tuple(dict(event.properties).get(name) for name in self.world.dimensions)

    def _dimensions(self, rows: Sequence[Judged]) -> tuple[str | None, ...]:
        """Return the dimensions of a message: of its delivery, else of the first event that has any."""
        found = [self.values(j.event) for j in sorted(rows, key=lambda j: (j.event.event != DELIVERY, *moment(j)))]
        return next(
            (values for values in found if any(value is not None for value in values)),
            (None,) * len(self.world.dimensions),
        )

    @staticmethod
    def _message(rows: Sequence[Judged]) -> dict[str, Any]:
        def times(*events: str, human: bool = False) -> list[datetime]:
            return sorted(j.event.at for j in rows if j.event.event in events and (not human or j.actor == "human"))

        def first(found: list[datetime]) -> datetime | None:
            return found[0] if found else None

        def last(found: list[datetime]) -> datetime | None:
            return found[-1] if found else None

        opens, clicks = times(*OPENS), times(CLICK)
        human_opens, human_clicks = times("email_opened", human=True), times(CLICK, human=True)
        return {
            "email": Metrics._address(rows),
            "delivered_at": first(times(DELIVERY)),
            "bounced_at": first(times(BOUNCE)),
            "opened_at": first(opens),
            "last_opened_at": last(opens),
            "human_opened_at": first(human_opens),
            "last_human_opened_at": last(human_opens),
            "clicked_at": first(clicks),
            "last_clicked_at": last(clicks),
            "human_clicked_at": first(human_clicks),
            "last_human_clicked_at": last(human_clicks),
            "unsubscribed_at": first(times("email_unsubscribed")),
            "complained_at": first(times("email_marked_as_spam")),
            "opens": len(opens),
            "human_opens": len(human_opens),
            "clicks": len(clicks),
            "human_clicks": len(human_clicks),
        }

    def _distinct_orders(self) -> list[Order]:
        """Return the earliest order of each order number."""
        kept: dict[str, Order] = {}
        for order in sorted((o for o in self.world.orders if not o.is_refund), key=lambda order: (order.at, order.id)):
            kept.setdefault(order.order or f"site/order_completed/{order.id}", order)
        return list(kept.values())

    def _refunded(self, refund: Order) -> Order:
        """Return the order that is refunded, if it is known, else the refund."""
        return self._numbered.get(refund.order or "", refund)

    @cached_property
    def _numbered(self) -> dict[str, Order]:
        """Orders by their number."""
        return {order.order: order for order in self.orders if order.order}

    def amount(self, order: Order) -> Decimal | None:
        """Return the revenue of a conversion or refund in the reporting currency."""
        if order.revenue is None or order.currency in {None, self.reporting_currency}:
            return order.revenue
        day = order.at.astimezone(ZoneInfo(self.world.zone)).date()
        rates = [(since, -rate) for since, currency, rate in self.world.rates if currency == order.currency]
        latest = max((rate for rate in rates if rate[0] <= day), default=None)
        return None if latest is None else order.revenue * -latest[1]

    @property
    def sales(self) -> list[Order]:
        """All that changes revenue."""
        return [*self.orders, *self.refunds]

    def revenue(self, message: tuple[str, str, str, int]) -> Decimal:
        """Return the revenue that the default model attributes to a message."""
        return sum(
            (credit * (self.amount(sale) or Decimal(0)) for sale, credit in self._credited.get(message, [])), Decimal(0)
        )

    @cached_property
    def _credited(self) -> dict[tuple[str | None, str, str, int], list[tuple[Order, Decimal]]]:
        """What the default model attributes to each message, with shares."""
        found = defaultdict(list)
        shares = grouped((*self.credits, *self.refund_credits), lambda credit: credit[0])
        for sale in self.sales:
            for _, model, message, credit in shares[sale.id]:
                if model == "last_human_click" and message:
                    found[self.person_of_sale(sale), *message].append((sale, credit))
        return found

    def person_of_sale(self, sale: Order) -> str | None:
        return self.person_on_site(self._refunded(sale) if sale.is_refund else sale)

    def _credit(self, order: Order, model: str) -> list[tuple[str, str, tuple[str, str, int] | None, Decimal]]:
        """Return the messages that an order is attributed to, with shares; one entry without a message if none."""
        wanted, window = MODELS[model]
        person = self.person_on_site(order)
        touches = [
            judged
            for judged in self.events
            if judged.person == person
            and judged.event.campaign not in self.world.transactional
            and touch(judged) in wanted
            and timedelta(0) <= order.at - judged.event.at <= window
            and not order.at < (judged.delivered_at or judged.first_delivered_at or order.at)
        ]
        preference = ("human_click", "click", "open", "delivery")
        touches.sort(key=lambda j: (preference.index(touch(j)), *j.mailing[1:], j.delivery, j.event.id))
        touches.sort(key=lambda j: j.event.at, reverse=True)
        if not touches:
            return [(order.id, model, None, Decimal(0))]
        if not model.startswith("linear"):
            return [(order.id, model, touches[0].message[1:], Decimal(1))]
        shares = grouped(touches, lambda j: j.message[1:])
        exact = {message: Decimal(len(rows)) / len(touches) for message, rows in shares.items()}
        return [(order.id, model, message, credit) for message, credit in exact.items()]

    def message_table(self) -> pd.DataFrame:
        """Return the messages as a data frame."""
        keys = ["person", "campaign", "email_id", "delivery"]
        rows = [dict(zip(keys, key, strict=True)) | values for key, values in self.messages.items()]
        frame = pd.DataFrame(rows, columns=[*keys, *self._message([])])
        return frame.astype(object).where(frame.notna(), None)

    def campaigns(self) -> dict[str, dict[str, Any]]:
        """Return the figures by campaign."""
        tables = self.message_table().groupby("campaign")
        return {str(campaign): self._campaign(str(campaign), rows) for campaign, rows in tables}

    def _campaign(self, campaign: str, rows: pd.DataFrame) -> dict[str, Any]:
        delivered = rows[rows.delivered_at.notna()]
        attempted = rows[rows.delivered_at.notna() | rows.bounced_at.notna()]
        seen = delivered[delivered.opened_at.notna() | delivered.clicked_at.notna()]
        names = [j.event for j in self.events if j.event.campaign == campaign and j.event.name is not None]
        credited = [
            (order, message)
            for order in self.orders
            for id_, model, message, credit in self.credits
            if id_ == order.id and model == "last_human_click" and credit and message and message[0] == campaign
        ]

        def people(column: str) -> int:
            return int(delivered[delivered[column].notna()].person.nunique())

        def count(column: str) -> int:
            return int(delivered[column].notna().sum())

        def rate(part: int, whole: int) -> Decimal | None:
            return round_half_up(Decimal(part) / whole) if whole else None

        waits = [
            (at - since).total_seconds()
            for at, since in zip(delivered.human_opened_at, delivered.delivered_at, strict=True)
            if at
        ]
        converted = {(self.person_on_site(order), *message) for order, message in credited if message[2] > 0}
        return {
            "campaign_name": min((str(e.name) for e in names if e.at == max(e.at for e in names)), default=None),
            "attempted": len(attempted),
            "delivered": len(delivered),
            "bounced": int(rows.bounced_at.notna().sum()),
            "opened": count("opened_at"),
            "human_opened": count("human_opened_at"),
            "clicked": count("clicked_at"),
            "human_clicked": count("human_clicked_at"),
            "unsubscribed": count("unsubscribed_at"),
            "complained": count("complained_at"),
            "recipients": int(delivered.person.nunique()),
            "recipients_opened": people("opened_at"),
            "recipients_human_clicked": people("human_clicked_at"),
            "delivery_rate": rate(int(delivered.bounced_at.isna().sum()), len(attempted)),
            "bounce_rate": rate(int(rows.bounced_at.notna().sum()), len(attempted)),
            "open_rate": rate(count("opened_at"), len(delivered)),
            "click_to_open_rate": rate(count("clicked_at"), len(seen)),
            "time_to_open_median": pd.Series(waits, dtype=float).median() if waits else None,
            "conversions": len(credited),
            "revenue": sum((self.revenue(key) for key in self.messages if key[1] == campaign), Decimal(0)),
            "conversion_rate": rate(len(converted), len(delivered)),
        }

    def credited(self, message: tuple[str, str, str, int]) -> list[Order]:
        """Return the orders that the default model attributes to a message."""
        return [sale for sale, credit in self._credited.get(message, []) if credit and not sale.is_refund]

    def funnel(self) -> dict[str, list[int]]:
        """Return the people at each step, by campaign."""
        steps: dict[str, list[set[str]]] = defaultdict(lambda: [set(), set(), set(), set(), set()])
        clicks: dict[tuple[str, str], list[datetime]] = defaultdict(list)
        for (person, campaign, _, _), row in self.messages.items():
            if row["delivered_at"]:
                steps[campaign][0].add(person)
                if row["human_opened_at"] or row["human_clicked_at"]:
                    steps[campaign][1].add(person)
                if row["human_clicked_at"]:
                    steps[campaign][2].add(person)
        for judged in self.events:
            if judged.event.event == CLICK and judged.actor == "human" and judged.delivery:
                clicks[judged.person, judged.event.campaign].append(judged.event.at)
        for (person, campaign), times in clicks.items():
            bought = any(
                self.person_on_site(order) == person and message and message[0] == campaign
                for order in self.orders
                for id_, model, message, _ in self.credits
                if id_ == order.id and model == "last_human_click"
            )
            visited = any(
                self.person_on_site(visit) == person and timedelta(0) <= visit.at - at <= timedelta(days=5)
                for visit in self.world.visits
                for at in times
            )
            if bought:
                steps[campaign][4].add(person)
            if bought or visited:
                steps[campaign][3].add(person)
        return {campaign: [len(people) for people in found] for campaign, found in steps.items()}

    def links(self) -> dict[tuple[str, str, str], tuple[int, int, int, int, datetime, datetime]]:
        """Return clicks, people (all, and without machines), first and last click by campaign, e-mail and link."""
        clicks = [j for j in self.events if j.event.event == CLICK]
        return {
            key: (
                len(rows),
                sum(j.actor == "human" for j in rows),
                len({j.person for j in rows}),
                len({j.person for j in rows if j.actor == "human"}),
                min(j.event.at for j in rows),
                max(j.event.at for j in rows),
            )
            for key, rows in grouped(clicks, lambda j: (j.event.campaign, j.event.email, j.event.link or "")).items()
        }

    def domains(self) -> Counter[str | None]:
        """Return the deliveries by domain of the address, or else of another address of the person."""
        addresses = {person: row[0] or "" for person, row in self.recipients().items()}
        found: Counter[str | None] = Counter()
        for (person, *_), row in self.messages.items():
            found[(row["email"] or addresses[person]).rpartition("@")[2] or None] += row["delivered_at"] is not None
        return found

    def recipients(self) -> dict[str, tuple[Any, ...]]:
        """Return address, deliveries, last times, conversions and revenue by person."""
        people = grouped(self.messages.items(), lambda item: item[0][0])
        sales = grouped(self.sales, self.person_of_sale)
        found = {}
        for person, rows in people.items():
            found[person] = (
                self._recipient_address([row for _, row in rows]),
                sum(row["delivered_at"] is not None for _, row in rows),
                max((row["delivered_at"] for _, row in rows if row["delivered_at"]), default=None),
                max((row["last_human_clicked_at"] for _, row in rows if row["last_human_clicked_at"]), default=None),
                self._last(person, "email_unsubscribed"),
                self._last(person, "email_marked_as_spam"),
                sum(not sale.is_refund for sale in sales[person]),
                sum((self.amount(sale) or Decimal(0) for sale in sales[person]), Decimal(0)),
            )
        return found

    def _last(self, person: str, event: str) -> datetime | None:
        return max((j.event.at for j in self.events if j.person == person and j.event.event == event), default=None)

    @staticmethod
    def _recipient_address(messages: Sequence[dict[str, Any]]) -> str | None:
        """Return the address of the latest delivery, else of the latest bounce; of two at once the first by name."""
        named = sorted((row for row in messages if row["email"]), key=lambda row: row["email"])
        named.sort(key=lambda row: row["bounced_at"] or EARLIEST, reverse=True)
        named.sort(key=lambda row: row["delivered_at"] or EARLIEST, reverse=True)
        return named[0]["email"] if named else None


def grouped(items: Iterable[Any], key: Any) -> dict[Any, list[Any]]:
    found: dict[Any, list[Any]] = defaultdict(list)
    for item in items:
        found[key(item)].append(item)
    return found


def moment(judged: Judged) -> tuple[Any, ...]:
    """Return the sort key of events: by time, deliveries first."""
    event = judged.event
    return event.at, event.event != DELIVERY, event.original or LATEST, event.id


def touch(judged: Judged) -> str:
    match judged.event.event:
        case "email_delivered":
            return "delivery"
        case "email_link_clicked":
            return "human_click" if judged.actor == "human" else "click"
        case "email_opened" | "email_machine_opened":
            return "open"
    return ""


def round_half_up(value: Decimal) -> Decimal:
    return value.quantize(Decimal("0.0001"), "ROUND_HALF_UP")
