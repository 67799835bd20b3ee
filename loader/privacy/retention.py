"""Keep data for a time only: delete events, loaded segments, and rejects that are older than a policy says.

Figures of campaigns and of their days stay as they are: what deleted events have contributed is kept apart, without
people, and each later computation of the figures adds it. All other views forget with the events.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from loader.config import Settings
from loader.crash_points import crash_point
from loader.errors import UsageError, WarehouseError
from loader.forwarding.retention import first_needed
from loader.pipeline.ledger import Ledger, record_outcome
from loader.pipeline.rejected_events import RejectFilter, purge_rejects
from loader.pipeline.result import LoadResult
from loader.postgres.connection import Warehouse, operation
from loader.privacy.event_rows import delete_rows, vacuum
from loader.schema.event_tables import TRACKS
from loader.schema.introspection import read_event_columns
from loader.schema.source import open_warehouse
from loader.spool.retention import remove_older
from loader.spool.segment_lock import hold_segments
from loader.spool.segments import closed_segments, folder_name, site_log
from loader.views.refresh import refresh

#: What a policy can be for.
KINDS = ("events", "raw", "rejects")
#: The value that ends a policy.
OFF = "off"
#: Events that one transaction deletes.
BATCH = 50_000

_SET = """
    insert into retention (kind, kept_for) values (%s, %s::interval)
    on conflict (kind) do update set kept_for = excluded.kept_for
"""
_READ = "select kind, kept_for::text, applied_at, now() - kept_for, is_pending from retention order by kind"
_DUE = "select exists (select from retention where applied_at is null or applied_at < now() - interval '1 day')"


def set_policy(warehouse: Warehouse, given: Mapping[str, str | None]) -> None:
    """Set how long each kind of data is kept, as PostgreSQL reads intervals; `off` keeps it.

    Raises UsageError for what is no interval above zero.
    """
    for kind, value in given.items():
        if value is None:
            continue
        with warehouse.transaction():
            if value == OFF:
                warehouse.fetch("delete from retention where kind = %s and not is_pending", kind)
                continue
            try:
                ((is_valid,),) = warehouse.fetch("select %s::interval > interval '0'", value)
            except WarehouseError:
                is_valid = False
            if not is_valid:
                raise UsageError(f"{value!r} is no time to keep {kind} for; write 25months, 30days or {OFF}")
        with warehouse.transaction():
            warehouse.fetch(_SET, kind, value)


def read_policy(warehouse: Warehouse) -> list[dict[str, Any]]:
    """Return the policy: kind, how long it is kept, and when older ones were last deleted."""
    with warehouse.transaction():
        rows = warehouse.fetch(_READ)
    return [dict(zip(("kind", "kept_for", "applied_at"), row, strict=False)) for row in rows]


def is_due(warehouse: Warehouse) -> bool:
    """Return whether a policy has not been applied for a day."""
    with warehouse.transaction():
        ((found,),) = warehouse.fetch(_DUE)
    return bool(found)


def apply_policy(settings: Settings, spool: Path) -> dict[str, int]:
    """Delete what is older than the policy says; return the number of events, segments, rejects and discarded values.

    Events are deleted while no load runs. Raises BusyError if one does.
    """
    counts: dict[str, int] = {}
    with open_warehouse(settings, "retention") as warehouse:
        with warehouse.transaction():
            policy = {kind: (kept_for, until) for kind, kept_for, _, until, _ in warehouse.fetch(_READ)}
        if "rejects" in policy:
            counts |= _delete_rejects(warehouse, policy["rejects"][1])
        if "raw" in policy:
            counts["segments"] = _delete_segments(warehouse, spool, policy["raw"][1])
        if "events" in policy:
            counts["events"] = _delete_events(settings, warehouse, policy["events"][0])
        with warehouse.transaction():
            warehouse.fetch("update retention set applied_at = now()")
    return counts


def _delete_rejects(warehouse: Warehouse, until: datetime) -> dict[str, int]:
    counts = purge_rejects(warehouse, RejectFilter(), until, discards=True)
    with warehouse.transaction():
        gone = warehouse.fetch("delete from undelivered_events where failed_at < %s returning 1", until)
    return {**counts, "undelivered_events": len(gone)}


def _delete_segments(warehouse: Warehouse, spool: Path, until: datetime) -> int:
    """Delete segments that were loaded, or passed by all integrations, and closed before a time."""
    gone = 0
    for log, reads_site in ((warehouse.schema, False), (site_log(warehouse.schema), True)):
        place = spool / folder_name(log)
        if not place.is_dir():
            continue
        first = first_needed(warehouse, place, reads_site=reads_site)
        with hold_segments(spool):
            before = len(closed_segments(place / ".loaded"))
            age = (datetime.now(UTC) - until).total_seconds()
            remove_older(place, age, {place: first} if first is not None else {})
            gone += before - len(closed_segments(place / ".loaded"))
    return gone


def _delete_events(settings: Settings, warehouse: Warehouse, kept_for: str) -> int:
    """Delete old events, and compute the figures again without them, apart from those of campaigns."""
    ledger = Ledger(warehouse)
    result = LoadResult(ledger.begin("retention", exclusive=True))
    deleted = 0
    with record_outcome(ledger, result):
        refresh(settings)  # so that the figures have all that is about to be deleted
        while batch := _delete_batch(warehouse, kept_for):
            deleted += batch
            crash_point("retention.batch")
        if finish_deletion(settings, warehouse):
            vacuum(warehouse)
        result.status = "empty"
    return deleted


def finish_deletion(settings: Settings, warehouse: Warehouse) -> bool:
    """Compute the figures without events that have been deleted, unless that is done; return whether it was to do."""
    with warehouse.transaction():
        ((is_pending,),) = warehouse.fetch("select exists (select from retention where is_pending)")
    if is_pending:
        refresh(settings, rebuild=True)
    return bool(is_pending)


def _delete_batch(warehouse: Warehouse, kept_for: str) -> int:
    with warehouse.transaction():
        tables = list(read_event_columns(warehouse))
        script = operation("delete_old_events")
        warehouse.run(script.format(tracks=warehouse.qualified(TRACKS), kept_for=kept_for, batch=BATCH))
        ((count,),) = warehouse.fetch("select count(*) from old_keys")
        if count:
            for table in tables:
                delete_rows(warehouse, table, "old_keys")
            warehouse.fetch("update retention set is_pending = true where kind = 'events'")
    return int(count)
