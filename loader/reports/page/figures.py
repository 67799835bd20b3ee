"""Read the figures of a report from the views, in one snapshot of the database."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from loader.errors import UsageError
from loader.postgres.connection import Warehouse, operation
from loader.quoting import quote_identifier
from loader.reports.page.periods import Period, months

#: Of so many events the share with a known user is counted; that of more is estimated from so many.
SAMPLED_EVENTS = 200_000
#: How long the clicks and orders after the last e-mail of a campaign are reported.
DAYS_AFTER = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Scope:
    """What a report is about: one campaign or all, and the days; a None follows from the data."""

    first: date | None = None
    last: date | None = None
    days: int = 90
    campaign: str | None = None


class Sums(NamedTuple):
    """Sums of `campaign_days`: e-mails, conversions and revenue."""

    attempted: int = 0
    delivered: int = 0
    opened: int = 0
    human_opened: int = 0
    human_clicked: int = 0
    unsubscribed: int = 0
    conversions: Decimal = Decimal(0)
    revenue: Decimal = Decimal(0)


class Campaign(NamedTuple):
    """A campaign with deliveries, and its sums of the period."""

    campaign_id: str
    name: str | None
    delivered: int
    human_opened: int
    human_clicked: int
    unsubscribed: int
    conversions: Decimal
    revenue: Decimal

    @property
    def rates(self) -> tuple[float, float]:
        """The share of the delivered e-mails that people opened, and that they clicked."""
        return self.human_opened / self.delivered, self.human_clicked / self.delivered


class Mailing(NamedTuple):
    """The campaign with the most deliveries of a day."""

    day: date
    name: str
    delivered: int


class Domain(NamedTuple):
    """A mailbox domain and its sums of the period."""

    name: str
    attempted: int
    delivered: int
    bounced: int
    complained: int
    opened: int
    human_opened: int


class Model(NamedTuple):
    """An attribution model, its window as the setting has it, and the revenue it credits to orders of the period."""

    name: str
    is_default: bool
    window: str
    revenue: Decimal


class Link(NamedTuple):
    """A link in the e-mails of a campaign, and its clicks in the period."""

    name: str | None
    campaign: str
    human_clicks: int
    clicks: int


class Source(NamedTuple):
    """What the figures are made of."""

    zone: str
    has_site: bool
    currency: str | None
    loaded_until: datetime
    events: int


@dataclass(frozen=True, slots=True)
class Figures:
    """All that a report shows. `days` reaches back to the period before and to the first of the months.

    `identified` is the share of events whose person is a known user; None if there are no events.
    `hours` has the number of first opens by people, by weekday (1 is Monday) and hour. `is_compared` says whether the
    data reach back to the beginning of the period before. `campaign_name` is None for a report of all campaigns, which
    alone has `campaigns`, `largest` and `domains`.
    """

    schema: str
    period: Period
    source: Source
    identified: Decimal | None
    campaign_name: str | None
    is_compared: bool
    days: Mapping[date, Sums]
    hours: Mapping[tuple[int, int], int]
    models: Sequence[Model]
    links: Sequence[Link]
    campaigns: Sequence[Campaign] = ()
    largest: Sequence[Mailing] = ()
    domains: Sequence[Domain] = ()

    def sum(self, period: Period) -> Sums:
        """Return the sums of a period."""
        return add(sums for day, sums in self.days.items() if period.has(day))


def add(rows: Iterable[Sums]) -> Sums:
    """Return the sum of sums.

    >>> add([Sums(attempted=1), Sums(attempted=2, delivered=2)])[:2]
    (3, 2)
    """
    columns: list[Any] = [sum(column) for column in zip(Sums(), *rows, strict=True)]
    return Sums(*columns)


def read_figures(warehouse: Warehouse, scope: Scope) -> Figures:
    """Read the figures of a report.

    Raises UsageError for a campaign that does not exist, and if there are no e-mails in the period.
    """
    with warehouse.snapshot():
        names = ", ".join(map(quote_identifier, (warehouse.schema, warehouse.ops)))
        warehouse.run(f"set local search_path to {names}, pg_catalog")
        return _read(warehouse, scope)


def _read(warehouse: Warehouse, scope: Scope) -> Figures:
    name = None if scope.campaign is None else _campaign_name(warehouse, scope.campaign)
    period, first_day = _period(warehouse, scope)
    ((*values,),) = warehouse.fetch(operation("report/source"))
    source = Source(*values)
    percent = min(100, 100 * SAMPLED_EVENTS / max(source.events, 1))
    ((identified,),) = warehouse.fetch(operation("report/identified"), percent=percent)
    parameters = {"first": period.first, "last": period.last, "campaign": scope.campaign}

    def read(query: str, **more: Any) -> list[tuple[Any, ...]]:
        return warehouse.fetch(operation(f"report/{query}"), **parameters, **more)

    is_whole = scope.campaign is None
    return Figures(
        schema=warehouse.schema,
        period=period,
        source=source._replace(loaded_until=source.loaded_until.astimezone(ZoneInfo(source.zone))),
        identified=identified,
        campaign_name=name,
        is_compared=first_day <= period.before.first,
        days={
            day: Sums(*sums) for day, *sums in read("days", earliest=min(period.before.first, months(period)[0].first))
        },
        hours={(weekday, hour): opens for weekday, hour, opens in read("hours")},
        models=[Model(*row) for row in read("models")] if source.has_site else [],
        links=[Link(*row) for row in read("links")],
        campaigns=[Campaign(*row) for row in read("campaigns", has_site=source.has_site)] if is_whole else [],
        largest=[Mailing(*row) for row in read("largest")] if is_whole else [],
        domains=[Domain(*row) for row in read("domains")] if is_whole else [],
    )


def _period(warehouse: Warehouse, scope: Scope) -> tuple[Period, date]:
    """Return the period of a report and the first day with e-mails.

    By default it ends with the last whole day that has e-mails, or some days after the last e-mail of a campaign, and
    does not begin before the first day.
    """
    ((first_day, last_day, last_whole_day),) = warehouse.fetch(operation("report/bounds"), campaign=scope.campaign)
    if first_day is None:
        raise UsageError("no e-mail was delivered or bounced yet; load events first")
    last = scope.last or last_whole_day or last_day
    if scope.campaign is not None and scope.last is None:
        last = min(last, last_day + DAYS_AFTER)
    period = Period(scope.first or last - timedelta(days=scope.days - 1), last)
    if period.days < 1:
        raise UsageError(f"the first day, {period.first}, is after the last one, {period.last}")
    if period.last < first_day or period.first > last_day:
        raise UsageError(
            f"there are no e-mails from {period.first} to {period.last}; there are from {first_day} to {last_day}"
        )
    return (period if scope.first else Period(max(period.first, first_day), last)), first_day


def _campaign_name(warehouse: Warehouse, campaign: str) -> str:
    """Return the latest name of a campaign, else its id."""
    found = warehouse.fetch("select campaign_name from campaigns where campaign_id = %s", campaign)
    if not found:
        raise UsageError(f"there is no campaign {campaign!r}; the view campaigns lists them with their ids")
    return found[0][0] or campaign or "E-mails without a campaign"
