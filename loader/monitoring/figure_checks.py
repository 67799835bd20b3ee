"""Check the figures behind the views: their age, the revenue that they leave out, and people who are too large."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from loader.monitoring.results import ERROR, OK, WARN, Check, ago
from loader.postgres.connection import Warehouse, operation
from loader.quoting import quote_identifier
from loader.views.figures import read_figures

_LOADED = """
    select max(finished_at), max(finished_at) > coalesce((select loaded_until from refreshed), '-infinity')
    from loads where events_loaded > 0
"""
#: How long after a load the views may be out of date, because its refresh is running.
REFRESH_TIME = timedelta(hours=1)
#: Conversions in other currencies by currency, the most frequent first, with the sum of their revenue.
_OTHER_CURRENCIES = """
    select currency, count(*), trim_scale(sum(revenue))::text
    from stored_conversions
    where is_counted and revenue is not null and amount is null
    group by currency
    order by count(*) desc, currency
"""
_UNREAD = """
    select count(*), min(unread)
    from stored_conversions
    where is_counted and unread is not null
"""


#: A person with fewer events is no concern. In a larger table the most frequent people are those of the statistics.
MIN_EVENTS, EXACT_EVENTS = 1_000, 200_000


def check_figures(warehouse: Warehouse, now: datetime) -> Iterator[Check]:
    """Yield the results of the checks of the figures, in the transaction at hand."""
    yield _current(warehouse, now)
    yield _currencies(warehouse)
    yield _unread_revenue(warehouse)
    yield _largest_person(warehouse)


def _current(warehouse: Warehouse, now: datetime) -> Check:
    ((loaded_at, is_behind),) = warehouse.fetch(_LOADED)
    (figures,) = read_figures(warehouse)
    if figures["failed_at"]:
        found = f"the refresh of {ago(now - figures['failed_at'])} failed: {figures['error']}"
        return Check("views", ERROR, found, "repair that, then run `selligent-loader refresh`")
    if is_behind and now - loaded_at > REFRESH_TIME:
        return Check(
            "views", ERROR, f"do not include the load of {ago(now - loaded_at)}", "run `selligent-loader refresh`"
        )
    return Check("views", OK, "being refreshed" if is_behind else "up to date")


def _currencies(warehouse: Warehouse) -> Check:
    name = "currencies"
    reporting = next((currency for (currency,) in warehouse.fetch("select reporting_currency from refreshed")), None)
    others = warehouse.fetch(_OTHER_CURRENCIES)
    if not others:
        return Check(name, OK, f"revenue is in {reporting}" if reporting else "no revenue with a currency")
    count = sum(number for _, number, _ in others)
    sums = ", ".join(f"{revenue} {currency}" for currency, _, revenue in others[:5])
    return Check(
        name,
        WARN,
        f"{count:,} conversions are not in {reporting} and left out of sums: {sums}",
        "name a table of rates by `selligent-loader settings set exchange_rates SCHEMA.TABLE`",
    )


def _unread_revenue(warehouse: Warehouse) -> Check:
    ((count, example),) = warehouse.fetch(_UNREAD)
    name = "revenue"
    if count:
        found = f"{count:,} amounts of conversions cannot be read, for example {example!r}"
        return Check(name, WARN, found, "correct them at their source: these conversions count without revenue")
    return Check(name, OK, "all amounts can be read")


def _largest_person(warehouse: Warehouse) -> Check:
    """Check that nobody has an implausible share of the events: such a person is many, who share an identifier."""
    name = "largest person"
    query = operation("largest_person").format(schema=quote_identifier(warehouse.schema))
    rows = warehouse.fetch(query, exact_events=EXACT_EVENTS)
    if not rows:
        return Check(name, OK, "nobody stands out")
    ((person, count, events, max_share),) = rows
    found = f"{count:,} of {events:,} e-mail events ({count / events:.1%})"
    if count < MIN_EVENTS or count <= max_share * events:
        return Check(name, OK, f"has {found}")
    if not person:
        return Check(name, WARN, f"nobody is named by {found}", "ask the sender for user ids or addresses")
    found = f"{person!r} has {found}"
    todo = "if that stands for nobody, add it: `selligent-loader settings set placeholder_ids`, with the ids before it"
    return Check(name, WARN, found, todo)
