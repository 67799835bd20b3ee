"""Store, list, export and deliver again the events that an integration could not deliver."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from loader.forwarding.delivery import Item
from loader.integrations.event import read_events
from loader.integrations.outcomes import Outcome
from loader.postgres.connection import Warehouse

#: Characters of an answer that are stored.
MAX_ANSWER = 2000
#: Dead letters that are read at a time.
PAGE = 500

_STORE = """
    insert into undelivered_events
        (integration_id, origin, message_id, event_text, raw, reason, status, answer, attempts)
    select integration_id, letter.*
    from integrations, unnest(
        %s::text[], %s::text[], %s::text[], %s::bytea[], %s::text[], %s::int[], %s::text[], %s::int[]
    ) as letter
    where integration_id = %s
    on conflict (integration_id, origin) do update set
        reason = excluded.reason, status = excluded.status, answer = excluded.answer, failed_at = now(),
        attempts = undelivered_events.attempts + excluded.attempts
"""
_LIST = """
    select undelivered_id, message_id, event_text, reason, status, answer, attempts, failed_at
    from undelivered_events where integration_id = %s order by undelivered_id desc limit %s
"""
_PAGE = """
    select undelivered_id, origin, raw, reason, status, answer, attempts, failed_at
    from undelivered_events where integration_id = %s and undelivered_id > %s order by undelivered_id limit %s
"""
_NAMES = ("undelivered_id", "message_id", "event_text", "reason", "status", "answer", "attempts", "failed_at")


def store_dead_letters(warehouse: Warehouse, integration_id: str, items: Sequence[Item]) -> None:
    """Store events that an integration could not deliver; one that is stored already gets the new failure."""
    rows = [_row(item, item.failure or Outcome("rejected", "unknown")) for item in items]
    with warehouse.transaction():
        warehouse.fetch(_STORE, *(list(column) for column in zip(*rows, strict=True)), integration_id)


def _row(item: Item, failure: Outcome) -> tuple[Any, ...]:
    (event, *_) = read_events(item.raw)
    answer = failure.answer[:MAX_ANSWER].replace("\0", "")
    name = event.name.replace("\0", "") or None
    message_id = event.message_id.replace("\0", "")
    return item.origin, message_id, name, item.raw, failure.reason, failure.code, answer or None, item.attempts


def list_dead_letters(warehouse: Warehouse, integration_id: str, limit: int) -> list[dict[str, Any]]:
    """Return undelivered events, the newest first, with the target's answers and without their content."""
    with warehouse.transaction():
        rows = warehouse.fetch(_LIST, integration_id, limit)
    return [dict(zip(_NAMES, row, strict=True)) for row in rows]


def read_dead_letters(warehouse: Warehouse, integration_id: str) -> Iterator[list[tuple[Any, ...]]]:
    """Yield all undelivered events in pages, the oldest first: number, origin, bytes, reason, status, answer, …"""
    last = 0
    while True:
        with warehouse.transaction():
            rows = warehouse.fetch(_PAGE, integration_id, last, PAGE)
        if not rows:
            return
        last = rows[-1][0]
        yield rows


def export_dead_letters(warehouse: Warehouse, integration_id: str) -> Iterator[bytes]:
    """Yield one line of JSON for each undelivered event: the event, and why it was not delivered."""
    for rows in read_dead_letters(warehouse, integration_id):
        for _, _, raw, reason, status, answer, attempts, failed_at in rows:
            about = {"reason": reason, "status": status, "answer": answer, "attempts": attempts, "failed_at": failed_at}
            head = json.dumps(about, default=str, ensure_ascii=False)[:-1].encode()
            yield head + b', "event": ' + bytes(raw) + b"}\n"


def remove_dead_letters(warehouse: Warehouse, numbers: Sequence[int]) -> None:
    """Remove undelivered events, which have been delivered."""
    with warehouse.transaction():
        warehouse.fetch("delete from undelivered_events where undelivered_id = any(%s)", list(numbers))
