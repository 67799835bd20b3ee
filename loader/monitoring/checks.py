"""Check: is what the warehouse holds fresh, whole and as much as usual? Rules, and one line for each."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import groupby
from statistics import median
from typing import Any

from loader.monitoring.freshness import TableFreshness, read_counts, read_days, read_freshness, snapshot
from loader.pipeline.ledger import read_running_loads
from loader.postgres.connection import Warehouse
from loader.schema.event_tables import TRACKS

OK, WARN, ERROR = "ok", "warn", "error"
#: Exit codes: something is partial or wrong, data is stale.
WRONG, STALE = 3, 5

#: A collection with events on fewer days than these of the PERIOD is rare: its silence says nothing.
REGULAR = 14
#: Weeks back that a day is compared with, how many of them must have events, and how many those must be.
WEEKS, ENOUGH_WEEKS, ENOUGH_EVENTS = 8, 4, 50
#: Shares of the usual volume below which it is low, or hardly there, and above which it is high.
LOW, HARDLY, HIGH = 0.5, 0.1, 3.0

#: Ended or not: every chunk's counts are written with its rows.
_UNBALANCED = """
    select
        (select count(*) from loads where status <> 'running' and {wrong}),
        (select count(*) from files where {wrong}),
        (select coalesce(sum(events_read), 0)::bigint from files)
"""
_WRONG = "events_read <> events_loaded + events_duplicate + events_rejected + events_ignored + events_suppressed"
_REJECTED = """
    select count(*) from rejected_events join loads using (load_id)
    where replayed_at is null and started_at >= now() - %s::interval
"""
_LAST = """
    select distinct on (kind) kind, load_id,
        case when status = 'running' then 'killed' else status end, started_at, coalesce(error, 'its process is gone')
    from loads
    where load_id <> all(%s)
    order by kind, load_id desc
"""
_VIEWS = """
    select max(finished_at), max(finished_at) > coalesce((select loaded_until from refreshed), '-infinity')
    from loads where events_loaded > 0
"""
#: How long after a load its refresh may run.
REFRESH_TIME = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Limits:
    """How old the newest event of a collection that has events every day may be, and how many rejects are allowed."""

    warn: timedelta = timedelta(hours=26)
    error: timedelta = timedelta(hours=50)
    max_rejects: int = 0


@dataclass(frozen=True, slots=True)
class Check:
    """What was checked, how it is (ok, warn, error), what was found, and what to do."""

    name: str
    level: str
    found: str
    todo: str = ""
    is_about_age: bool = False

    @property
    def line(self) -> str:
        """All of it in one line."""
        return f"{self.level:5} {self.name}: {self.found}" + (f"; {self.todo}" if self.todo else "")

    def as_json(self) -> dict[str, Any]:
        """Return it as `check --json` prints it."""
        return {"check": self.name, "level": self.level, "found": self.found, "todo": self.todo or None}


def exit_code(checks: Sequence[Check]) -> int:
    """Return 5 if data is stale, else 3 if anything else is wrong, else 0; warnings are no failure."""
    wrong = [check for check in checks if check.level == ERROR]
    return STALE if any(check.is_about_age for check in wrong) else WRONG if wrong else 0


def check(warehouse: Warehouse, limits: Limits) -> list[Check]:
    """Return all checks as of one moment."""
    with snapshot(warehouse):
        ((now,),) = warehouse.fetch("select now()")
        tables = read_freshness(warehouse)
        counts = _count(warehouse, tables)
        return [
            *(_fresh(warehouse, table, now, limits) for table in tables),
            *(check_volume(table, days) for table, days in counts.items()),
            check_sums(tables, counts),
            _ledger(warehouse),
            _rejects(warehouse, limits),
            *_last_loads(warehouse),
            _views(warehouse, now),
        ]


def _count(warehouse: Warehouse, tables: Sequence[TableFreshness]) -> dict[str, Sequence[tuple[date, int]]]:
    """Return the events of the last day and those it is compared with, by table; one day for all tables."""
    newest = next((table.newest_event for table in tables if table.table == TRACKS), None)
    return {table.table: read_counts(warehouse, table, newest, WEEKS) for table in tables} if newest else {}


def _fresh(warehouse: Warehouse, table: TableFreshness, now: datetime, limits: Limits) -> Check:
    return check_freshness(table, read_days(warehouse, table) if table.newest_event else [], now, limits)


def usual_pause(days: Sequence[bool]) -> int:
    """Return how many days in a row usually are without events: the second longest pause, as one may be a fault.

    >>> usual_pause([True] * 9), usual_pause([True, False, False] * 5), usual_pause([True, False, False, True, True])
    (0, 2, 0)
    """
    pauses = [len(list(run)) for has_events, run in groupby(days) if not has_events]
    between = pauses[0 if days and days[0] else 1 :]
    return sorted(between)[-2] if len(between) > 1 else 0


def check_freshness(table: TableFreshness, days: Sequence[bool], now: datetime, limits: Limits) -> Check:
    """Judge the newest event of a table by the table's own rhythm, its days with events up to that one.

    Its usual pause is added to the limits; of rare events nothing is expected, of all events together something is.
    """
    name = f"freshness of {table.table}"
    if table.newest_event is None or table.newest_load is None:
        level = ERROR if table.table == TRACKS else OK
        return Check(name, level, "no event yet", "" if level == OK else "load some", is_about_age=True)
    age = now - table.newest_event
    found = f"newest event {ago(age)}, newest load {ago(now - table.newest_load)}"
    if table.table != TRACKS and sum(days) < REGULAR:
        return Check(name, OK, f"{found}, rare: on {sum(days)} of {len(days)} days", is_about_age=True)
    pause = timedelta(days=usual_pause(days))
    if age <= limits.warn + pause:
        return Check(name, OK, found, is_about_age=True)
    has_ended = table.table != TRACKS and age.days > len(days)
    level = WARN if age <= limits.error + pause or has_ended else ERROR
    if now - table.newest_load <= limits.warn:
        todo = "loads run but bring nothing new: look at the files, ask the sender"
    else:
        todo = "see whether the scheduler runs, and `selligent-loader status`"
    return Check(name, level, f"{found}, expected within {_span(limits.warn + pause)}", todo, is_about_age=True)


def check_volume(table: str, days: Sequence[tuple[date, int]]) -> Check:
    """Judge the last of some days by the median of those before it that have events.

    It is only wrong if it is also beyond them, but for one, which may have been wrong itself.
    """
    name = f"volume of {table}"
    *before, (day, count) = days
    usual = sorted(number for _, number in before if number)
    if len(usual) < ENOUGH_WEEKS:
        return Check(name, OK, f"{count:,} on {day:%A %Y-%m-%d}, too few weeks to compare with")
    middle = median(usual)
    found = f"{count:,} on {day:%A %Y-%m-%d}, median of {len(usual)} weeks {middle:,.0f}"
    if middle < ENOUGH_EVENTS:
        return Check(name, OK, f"{found}, too few to judge")
    if count < LOW * middle and count < usual[1]:
        level = ERROR if count < HARDLY * middle else WARN
        return Check(name, level, found, "see whether files are missing, or ask the sender")
    if count > HIGH * middle and count > usual[-2]:
        return Check(name, WARN, found, "see whether more was sent, or the same under new ids")
    return Check(name, OK, found)


def check_sums(tables: Sequence[TableFreshness], counts: Mapping[str, Sequence[tuple[date, int]]]) -> Check:
    """Judge whether `tracks` has what the collections have: all rows where they are few, else day by day."""
    name = "tracks and collections"
    if any(table.is_estimate for table in tables) and counts:
        parts = {table: {f"on {day}": count for day, count in days} for table, days in counts.items()}
    else:
        parts = {table.table: {"in all": table.rows} for table in tables}
    tracks = parts.pop(TRACKS)
    sums = {when: sum(part[when] for part in parts.values()) for when in tracks}
    wrong = [f"{tracks[when]:,} and {sums[when]:,} {when}" for when in tracks if tracks[when] != sums[when]]
    if wrong:
        return Check(
            name,
            ERROR,
            "; ".join(wrong),
            "find out who changes rows; delete what is left of these events and `load --again` their files",
        )
    span = f" on {len(tracks)} days" if len(tracks) > 1 else ""
    return Check(name, OK, f"equal, {sum(tracks.values()):,} events{span}")


def _ledger(warehouse: Warehouse) -> Check:
    ((loads, files, events),) = warehouse.fetch(_UNBALANCED.format(wrong=_WRONG))
    name = "reconciliation of the ledger"
    if loads or files:
        found = f"{loads:,} loads and {files:,} files whose events read are not those accounted for"
        return Check(name, ERROR, found, "report it: events may be lost")
    return Check(name, OK, f"all {events:,} events read are accounted for")


def _rejects(warehouse: Warehouse, limits: Limits) -> Check:
    ((count,),) = warehouse.fetch(_REJECTED, limits.error)
    found = f"{count:,} by loads of the last {_span(limits.error)}, {limits.max_rejects:,} are allowed"
    if count > limits.max_rejects:
        return Check("rejected events", ERROR, found, "`selligent-loader rejects list` shows them")
    return Check("rejected events", OK, found)


def _last_loads(warehouse: Warehouse) -> Iterator[Check]:
    alive = [load["load_id"] for load in read_running_loads(warehouse) if load["is_alive"]]
    for kind, load_id, status, started_at, error in warehouse.fetch(_LAST, alive):
        found = f"load {load_id} of {started_at:%Y-%m-%d %H:%M %Z} is {status}"
        if status in {"failed", "killed"}:
            yield Check(f"last load of {kind}", ERROR, f"{found}: {error}", "mend that and load again: it goes on")
        else:
            yield Check(f"last load of {kind}", OK, found)


def _views(warehouse: Warehouse, now: datetime) -> Check:
    ((loaded_at, is_behind),) = warehouse.fetch(_VIEWS)
    if is_behind and now - loaded_at > REFRESH_TIME:
        return Check(
            "views", ERROR, f"without what was loaded {ago(now - loaded_at)}", "run `selligent-loader refresh`"
        )
    return Check("views", OK, "are being brought up to date" if is_behind else "up to date")


def ago(age: timedelta) -> str:
    """Return an age in words.

    >>> ago(timedelta(minutes=5)), ago(timedelta(hours=26)), ago(timedelta(days=12, hours=1))
    ('5 min ago', '26 h ago', '12 days ago')
    """
    return f"{_span(age)} ago"


def _span(span: timedelta) -> str:
    hours = span.total_seconds() / 3600
    return f"{span.days} days" if hours >= 72 else f"{hours:.0f} h" if hours >= 1 else f"{hours * 60:.0f} min"
