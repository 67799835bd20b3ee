"""Check the data of a source: freshness, volume, sums, rejects, last loads and views."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import groupby
from statistics import median

from loader.events.outcomes import COUNTS
from loader.monitoring.figure_checks import check_figures
from loader.monitoring.forwarding_checks import check_forwarding
from loader.monitoring.freshness import TableFreshness, read_counts, read_days, read_freshness
from loader.monitoring.results import ERROR, OK, SKIP, WARN, Check, ago, span
from loader.pipeline.ledger import read_running_loads
from loader.postgres.connection import Warehouse
from loader.schema.event_tables import TRACKS
from loader.views.settings import read_max_clock_skew

#: Exit codes: a check other than freshness failed; data is stale.
WRONG, STALE = 3, 5

#: A collection with events on fewer than this many of the last PERIOD_DAYS days is rare: its age is not checked.
REGULAR_DAYS = 14
#: A day's volume is compared with the same weekday of the previous WEEKS, if at least MIN_WEEKS of these have events
#: and their median is at least MIN_EVENTS.
WEEKS, MIN_WEEKS, MIN_EVENTS = 8, 4, 50
#: Volume as a share of the median: below LOW is a warning, below VERY_LOW an error, above HIGH a warning.
LOW, VERY_LOW, HIGH = 0.5, 0.1, 3.0

#: Includes running loads, because the counts of a chunk are written in the transaction of its rows.
_UNBALANCED = """
    select
        (select count(*) from loads where status <> 'running' and {wrong}),
        (select count(*) from files where {wrong}),
        (
            select count(*)
            from loads
            left join (select load_id, {sums} from files group by load_id) as read using (load_id)
            where status <> 'running' and ({differs})
        ),
        (select coalesce(sum(events_read), 0)::bigint from files)
"""
_EVENT_COUNTS = [name for name in COUNTS if name.startswith("events_")]
_SUMS = ", ".join(f"sum({name}) as {name}" for name in _EVENT_COUNTS)
_DIFFERS = " or ".join(f"loads.{name} <> coalesce(read.{name}, 0)" for name in _EVENT_COUNTS)
_WRONG = "events_read <> events_loaded + events_duplicate + events_rejected + events_ignored + events_suppressed"
_REJECTED = """
    select count(*) from rejected_events join loads using (load_id)
    where replayed_at is null and started_at >= now() - %s::interval
"""
#: Events with wrong clocks of recent loads, and the last such load.
_CLOCKS = """
    select coalesce(sum(events_clock_suspect), 0)::bigint, max(load_id) filter (where events_clock_suspect > 0)
    from loads where started_at >= now() - %s::interval
"""
#: Reads the rows of one load, by the index on uuid_ts.
_CLOCK_EXAMPLE = """
    select id, original_timestamp, sent_at, received_at
    from {tracks}
    where uuid_ts = any(array(select uuid_ts from chunks where load_id = %s))
        and (sent_at not between received_at - %s and received_at + %s
            or greatest(original_timestamp, timestamp) > received_at + %s)
    order by received_at desc, id limit 1
"""
_LAST = """
    select distinct on (kind) kind, load_id,
        case when status = 'running' then 'killed' else status end, started_at, coalesce(error, 'its process is gone')
    from loads
    where load_id <> all(%s)
    order by kind, load_id desc
"""


@dataclass(frozen=True, slots=True)
class Limits:
    """Maximum age of the newest event of a collection with events every day, and maximum number of rejects."""

    warn: timedelta = timedelta(hours=26)
    error: timedelta = timedelta(hours=50)
    max_rejects: int = 0


def exit_code(checks: Sequence[Check]) -> int:
    """Return 5 if data is stale, else 3 if another check failed, else 0; warnings are not failures."""
    wrong = [check for check in checks if check.level == ERROR]
    return STALE if any(check.is_about_age for check in wrong) else WRONG if wrong else 0


def check(warehouse: Warehouse, limits: Limits) -> list[Check]:
    """Run all checks in one snapshot of the database."""
    with warehouse.snapshot():
        ((now,),) = warehouse.fetch("select now()")
        tables = read_freshness(warehouse)
        counts = _count(warehouse, tables)
        return [
            *(_fresh(warehouse, table, now, limits) for table in tables),
            *(check_volume(table, days) for table, days in counts.items()),
            check_sums(tables, counts),
            _ledger(warehouse),
            _rejects(warehouse, limits),
            _clocks(warehouse, limits),
            *_last_loads(warehouse),
            *check_figures(warehouse, now),
            *check_forwarding(warehouse, limits.error),
        ]


def _count(warehouse: Warehouse, tables: Sequence[TableFreshness]) -> dict[str, Sequence[tuple[date, int]]]:
    """Return the number of events of the last day and of the days it is compared with, by table.

    The last day is the same for all tables, that of the newest event in `tracks`.
    """
    newest = next((table.newest_event for table in tables if table.table == TRACKS), None)
    return {table.table: read_counts(warehouse, table, newest, WEEKS) for table in tables} if newest else {}


def _fresh(warehouse: Warehouse, table: TableFreshness, now: datetime, limits: Limits) -> Check:
    return check_freshness(table, read_days(warehouse, table) if table.newest_event else [], now, limits)


def usual_pause(days: Sequence[bool]) -> int:
    """Return the usual number of consecutive days without events.

    This is the second longest pause, because the longest may be a failure.

    >>> usual_pause([True] * 9), usual_pause([True, False, False] * 5), usual_pause([True, False, False, True, True])
    (0, 2, 0)
    """
    pauses = [len(list(run)) for has_events, run in groupby(days) if not has_events]
    between = pauses[0 if days and days[0] else 1 :]
    return sorted(between)[-2] if len(between) > 1 else 0


def check_freshness(table: TableFreshness, days: Sequence[bool], now: datetime, limits: Limits) -> Check:
    """Check the age of the newest event of a table, given for each day up to that event whether it had events.

    The table's usual pause is added to the limits. Rare collections are not checked; `tracks` always is.
    """
    name = f"freshness of {table.table}"
    if table.newest_event is None or table.newest_load is None:
        if table.table != TRACKS:
            return Check(name, SKIP, "no events yet", is_about_age=True)
        return Check(name, ERROR, "no events yet", "load events", is_about_age=True)
    age = now - table.newest_event
    found = f"newest event {ago(age)}, newest load {ago(now - table.newest_load)}"
    if table.table != TRACKS and sum(days) < REGULAR_DAYS:
        return Check(name, SKIP, f"{found}, rare: on {sum(days)} of {len(days)} days", is_about_age=True)
    pause = timedelta(days=usual_pause(days))
    if age <= limits.warn + pause:
        return Check(name, OK, found, is_about_age=True)
    has_ended = table.table != TRACKS and age.days > len(days)
    level = WARN if age <= limits.error + pause or has_ended else ERROR
    if now - table.newest_load <= limits.warn:
        todo = "loads run without new events: check the files, or ask the sender"
    else:
        todo = "check the scheduler and `selligent-loader status`"
    return Check(name, level, f"{found}, expected within {span(limits.warn + pause)}", todo, is_about_age=True)


def check_volume(table: str, days: Sequence[tuple[date, int]]) -> Check:
    """Compare the last of some days with the median of the previous ones that have events.

    It must also be beyond all previous days but one, because one may have been a failure itself.
    """
    name = f"volume of {table}"
    *before, (day, count) = days
    usual = sorted(number for _, number in before if number)
    if len(usual) < MIN_WEEKS:
        return Check(name, SKIP, f"{count:,} on {day:%A %Y-%m-%d}, too few weeks to compare")
    middle = median(usual)
    found = f"{count:,} on {day:%A %Y-%m-%d}, median of {len(usual)} weeks {middle:,.0f}"
    if middle < MIN_EVENTS:
        return Check(name, SKIP, f"{found}, too few to compare")
    if count < LOW * middle and count < usual[1]:
        level = ERROR if count < VERY_LOW * middle else WARN
        return Check(name, level, found, "check whether files are missing, or ask the sender")
    if count > HIGH * middle and count > usual[-2]:
        return Check(name, WARN, found, "check whether more was sent, or the same events with new ids")
    return Check(name, OK, found)


def check_sums(tables: Sequence[TableFreshness], counts: Mapping[str, Sequence[tuple[date, int]]]) -> Check:
    """Check that `tracks` has as many rows as the collections: in total, or by day if a table is too large to count."""
    name = "tracks and collections"
    if any(table.is_estimate for table in tables) and counts:
        parts = {table: {f"on {day}": count for day, count in days} for table, days in counts.items()}
    else:
        parts = {table.table: {"in total": table.rows} for table in tables}
    tracks = parts.pop(TRACKS)
    sums = {when: sum(part[when] for part in parts.values()) for when in tracks}
    wrong = [f"{tracks[when]:,} and {sums[when]:,} {when}" for when in tracks if tracks[when] != sums[when]]
    if wrong:
        return Check(
            name,
            ERROR,
            "; ".join(wrong),
            "find out who changes rows; delete the remaining rows of these events and `load --again` their files",
        )
    days = f" on {len(tracks)} days" if len(tracks) > 1 else ""
    return Check(name, OK, f"equal, {sum(tracks.values()):,} events{days}")


def _ledger(warehouse: Warehouse) -> Check:
    query = _UNBALANCED.format(wrong=_WRONG, sums=_SUMS, differs=_DIFFERS)
    ((loads, files, different, events),) = warehouse.fetch(query)
    name = "reconciliation of the ledger"
    if loads or files:
        found = f"{loads:,} loads and {files:,} files where the events read differ from the sum of the outcomes"
        return Check(name, ERROR, found, "report it: events may be lost")
    if different:
        found = f"{different:,} loads whose counts differ from the sums of their files"
        return Check(name, ERROR, found, "rely on `files`; report it, with the log of these loads")
    return Check(name, OK, f"all {events:,} events read are accounted for")


def _rejects(warehouse: Warehouse, limits: Limits) -> Check:
    ((count,),) = warehouse.fetch(_REJECTED, limits.error)
    found = f"{count:,} by loads of the last {span(limits.error)}, {limits.max_rejects:,} are allowed"
    if count > limits.max_rejects:
        return Check("rejected events", ERROR, found, "see `selligent-loader rejects list`")
    return Check("rejected events", OK, found)


def _clocks(warehouse: Warehouse, limits: Limits) -> Check:
    """Report recent events whose senders had wrong clocks, with an example."""
    ((count, load_id),) = warehouse.fetch(_CLOCKS, limits.error)
    skew = read_max_clock_skew(warehouse)
    found = f"{count:,} events with wrong times by loads of the last {span(limits.error)}"
    if not skew and not count:
        return Check("clocks of senders", SKIP, "not checked: max_clock_skew is off")
    if not count:
        return Check("clocks of senders", OK, found)
    statement = _CLOCK_EXAMPLE.format(tracks=warehouse.qualified(TRACKS))
    for id_, *times in warehouse.fetch(statement, load_id, skew, skew, skew) if skew else ():
        names = ("happened", "sent", "received")
        shown = [f"{name} {time:%Y-%m-%d %H:%M:%S %Z}" for name, time in zip(names, times, strict=True) if time]
        found += f", such as {id_!r}: {', '.join(shown)}"
    return Check("clocks of senders", WARN, found, "ask the sender; `timestamp` is not corrected by such a clock")


def _last_loads(warehouse: Warehouse) -> Iterator[Check]:
    alive = [load["load_id"] for load in read_running_loads(warehouse) if load["is_alive"]]
    for kind, load_id, status, started_at, error in warehouse.fetch(_LAST, alive):
        found = f"load {load_id} of {started_at:%Y-%m-%d %H:%M %Z} is {status}"
        if status in {"failed", "killed"}:
            yield Check(
                f"last load of {kind}",
                ERROR,
                f"{found}: {error}",
                "fix the cause and load again: the load continues where it ended",
            )
        else:
            yield Check(f"last load of {kind}", OK, found)
