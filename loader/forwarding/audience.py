"""Send the rows of a query to an integration: people of a view become identify calls, and members of a segment.

Which members a segment got from us is stored, so those who have left it can be removed. A member is stored before it is
sent, so that nobody can be in the segment without being stored, whatever fails; the next run sends it again.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from msgspec import Raw

from loader.crash_points import crash_point
from loader.errors import BusyError, OutageError, SchemaError, UsageError, WarehouseError
from loader.forwarding.clock import Clock
from loader.forwarding.configuration import Configuration
from loader.forwarding.cursor import Progress
from loader.forwarding.dead_letters import store_dead_letters
from loader.forwarding.delivery import Delivery, Item
from loader.forwarding.preparation import Preparation
from loader.forwarding.replay import RETRY_SECONDS, Replayed, deliver_items
from loader.integrations.event import encode
from loader.integrations.protocol import Batch
from loader.pipeline.suppression import Suppression
from loader.postgres.advisory_locks import MEMBERS
from loader.postgres.connection import Warehouse
from loader.quoting import quote_identifier, quote_literal
from loader.spool.reader import Position

#: Rows and members that are sent at a time, and those of each kind that a preview shows.
PAGE, PREVIEWED = 2500, 3

#: The rows of the query, in a temporary table: its definition, and what is read of it.
_CREATE = """
    create temporary table audience as
    select row_number() over () as number, found.traits ->> {column} as user_id, found.traits
    from (select to_jsonb(given) as traits from ({query}
    ) as given) as found;
    create index on audience (user_id);
    analyze audience
"""
_COUNT = "select count(*), count(user_id), bool_and(traits ? %s) from pg_temp.audience"
_ROWS = """
    select number, user_id, traits::text from pg_temp.audience
    where user_id is not null and number > %s order by number limit %s
"""
_ENTERED = """
    select distinct user_id from pg_temp.audience
    where user_id > %s and not exists (
        select from segment_members as member
        where (integration_id, segment, member.user_id) = (%s, %s, audience.user_id) and is_delivered
    )
    order by 1 limit %s
"""
_LEFT = """
    select user_id from segment_members as member
    where user_id > %s and (integration_id, segment) = (%s, %s)
        and not exists (select from pg_temp.audience where audience.user_id = member.user_id)
    order by 1 limit %s
"""
_STORE = """
    insert into segment_members (integration_id, segment, user_id)
    select %s, %s, unnest(%s::text[]) on conflict do nothing
"""
_MARK = """
    update segment_members set is_delivered = true
    where (integration_id, segment) = (%s, %s) and user_id = any(%s)
"""
_FORGET = "delete from segment_members where (integration_id, segment) = (%s, %s) and user_id = any(%s)"


@dataclass(frozen=True, slots=True)
class Audience:
    """A query, the column with userId, and what becomes of its rows: profiles, members of a segment, or both."""

    query: str
    user_id: str = "user_id"
    segment: str | None = None
    has_profiles: bool = True


class AudienceReplay:
    """Sends the rows of a query to one integration."""

    def __init__(self, warehouse: Warehouse, configuration: Configuration, audience: Audience) -> None:
        self._warehouse, self._configuration, self._audience = warehouse, configuration, audience
        self._integration = configuration.open()
        suppressed = Suppression(warehouse).list
        self._preparation = Preparation(configuration, self._integration, suppressed=suppressed)
        self._progress = Progress()
        self._moment = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def run(self) -> Replayed:
        """Send profiles, then those who have entered the segment, then those who have left it.

        Raises UsageError for a query that fails or has not the column, BusyError if the segment is being filled by
        another process, LoaderError if the database is away, or the target wants no more requests.
        """
        segment, progress = self._audience.segment, self._progress
        if segment and not self._warehouse.try_lock(MEMBERS, f"{self._configuration.integration_id} {segment}"):
            raise BusyError(f"another process fills the segment {segment!r}; wait for it to end")
        without = self._read_rows()
        if self._audience.has_profiles:
            for page in self._pages(_ROWS, 0):
                self._send([(str(number), self._identify(user, traits)) for number, user, traits in page])
        if segment:
            place = self._configuration.integration_id, segment
            for page in self._pages(_ENTERED, "", *place):
                self._enter(place, [user for (user,) in page])
            for page in self._pages(_LEFT, "", *place):
                self._leave(place, [user for (user,) in page])
        undelivered, failures = progress.events_undelivered, dict(progress.failures)
        return Replayed(progress.events_delivered, progress.events_skipped + without, undelivered, failures)

    def preview(self) -> str:
        """Return the requests for the first rows as text; nothing is sent or stored."""
        without = self._read_rows()
        segment = self._audience.segment
        place = self._configuration.integration_id, segment
        rows, entered, left = (
            next(self._pages(query, *start), [])
            for query, start in ((_ROWS, (0,)), (_ENTERED, ("", *place)), (_LEFT, ("", *place)))
        )
        calls = [self._identify(user, traits) for _, user, traits in rows[:PREVIEWED] if self._audience.has_profiles]
        if segment:
            calls += [self._group(user, "ADD") for (user,) in entered[:PREVIEWED]]
            calls += [self._group(user, "REMOVE") for (user,) in left[:PREVIEWED]]
        items = [item for n, call in enumerate(calls) for item in self._prepare(str(n), call)]
        refused = [f"{item.failure.reason}: {item.failure.answer}" for item in items if item.failure]
        records = [item.record for item in items if item.record]
        ((rows_read, *_),) = self._fetch(_COUNT, self._audience.user_id)
        notes = [f"{rows_read:,} rows, {without:,} of them without {self._audience.user_id}", *refused]
        text = self._integration.preview(Batch("preview", records)) if records else "nothing would be sent"
        return "\n".join([f"-- first rows only; nothing is sent; {'; '.join(notes)}", "", text])

    def _read_rows(self) -> int:
        """Run the query, and return the number of its rows without userId."""
        query = self._audience.query.strip().rstrip(";")
        script = _CREATE.format(column=quote_literal(self._audience.user_id), query=query)
        warehouse = self._warehouse
        try:
            with warehouse.transaction():
                place = ", ".join(quote_identifier(name) for name in (warehouse.schema, warehouse.ops))
                warehouse.run(f"set local search_path to {place}, pg_catalog; {script}")
        except OutageError:
            raise
        except (SchemaError, WarehouseError) as exc:
            raise UsageError(f"the query fails: {exc}") from exc
        ((rows, users, has_column),) = self._fetch(_COUNT, self._audience.user_id)
        if rows and not has_column:
            raise UsageError(f"the query has no column {self._audience.user_id!r}; name that of userId with --user-id")
        return int(rows - users)

    def _fetch(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with self._warehouse.transaction():
            return self._warehouse.fetch(query, *parameters)

    def _pages(self, query: str, last: Any, *place: Any) -> Iterator[list[tuple[Any, ...]]]:
        while rows := self._fetch(query, last, *place, PAGE):
            yield rows
            last = rows[-1][0]

    def _enter(self, place: tuple[str, str], users: Sequence[str]) -> None:
        items = [item for user in users for item in self._prepare(f"add {user}", self._group(user, "ADD"))]
        sent = [item.person for item in items if not item.is_done]
        self._fetch(_STORE, *place, sent)
        crash_point("audience.stored")
        self._fetch(_MARK, *place, self._deliver(items))
        crash_point("audience.marked")

    def _leave(self, place: tuple[str, str], users: Sequence[str]) -> None:
        items = [item for user in users for item in self._prepare(f"remove {user}", self._group(user, "REMOVE"))]
        self._fetch(_FORGET, *place, self._deliver(items))

    def _send(self, calls: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        self._deliver([item for name, call in calls for item in self._prepare(name, call)])

    def _identify(self, user: str, traits: str) -> Mapping[str, Any]:
        return {"type": "identify", "userId": user, "traits": Raw(traits.encode())}

    def _group(self, user: str, method: str) -> Mapping[str, Any]:
        return {"type": "group", "userId": user, "groupId": self._audience.segment, "traits": {"method": method}}

    def _prepare(self, name: str, call: Mapping[str, Any]) -> Iterator[Item]:
        """Yield the item of a call; its id is the same if the same rows are sent again."""
        line = encode(call)
        number = hashlib.sha256(name.encode() + line).hexdigest()[:32]
        event = encode({**call, "messageId": f"query-{number}", "timestamp": self._moment})
        yield from self._preparation.prepare(event, f"query@{number}", f"query-{number}", Position(number))

    def _deliver(self, items: Sequence[Item]) -> list[str]:
        """Deliver items, and return the people of those that were delivered."""
        buried: set[str] = set()

        def bury(lost: Sequence[Item]) -> None:
            store_dead_letters(self._warehouse, self._configuration.integration_id, lost)
            buried.update(item.origin for item in lost)

        skipped = {item.origin for item in items if item.is_done}
        self._progress.events_skipped += len(skipped)
        delivery = Delivery(self._integration, self._progress, bury, clock := Clock(), RETRY_SECONDS)
        deliver_items(delivery, iter(items), clock)
        return [item.person for item in items if item.origin not in skipped | buried]
