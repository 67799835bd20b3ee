"""Remove people from the tables: rows of events, rejects, discarded values, dead letters, members, and texts."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loader.crash_points import crash_point
from loader.events.identities import find_identities
from loader.postgres import advisory_locks
from loader.postgres.connection import Warehouse
from loader.privacy.event_rows import delete_rows, update_rows
from loader.privacy.scrubbing import Scrubber, address_pattern
from loader.quoting import quote_identifier
from loader.schema.event_tables import STANDARD
from loader.schema.introspection import read_event_columns
from loader.views.personal_data import read_personal_properties
from loader.views.settings import read_settings

#: What stands where an address was in a text of something else.
ERASED = "[erased]"
#: Rows that one query reads of tables that are searched by their bytes.
_PAGE = 2000
#: Tables with the bytes of events, and their keys.
_BYTES = {"rejected_events": "rejected_id", "undelivered_events": "undelivered_id"}
#: Texts in the ops schema that can quote an event.
_TEXTS = {
    "loads": "error",
    "files": "error",
    "rejected_events": "detail",
    "undelivered_events": "answer",
    "incidents": "error",
    "forwarding": "error",
    "refreshed": "error",
}
#: A text with an address, perhaps URL-encoded or with escapes of JSON; everything else need not be read.
_MAY_NAME = r"(@|%%40|%%2540|u0040)"
#: The keys are read on their own: a query of distributed tables cannot join a table of the session.
_ADDRESSES = """
    with keys as materialized (select distinct original_timestamp, id from erased_keys)
    select stored.original_timestamp, stored.id, keys.id is not null, {texts}
    from {place} as stored
    left join keys
        on stored.id = keys.id and stored.original_timestamp is not distinct from keys.original_timestamp
    where {texts} ~ '{pattern}' and %s::text is null
"""
_MENTION = """
    update {place} set {changes}
    where original_timestamp is not distinct from %(time)s and id = %(id)s
    returning uuid_ts
"""
#: Readers of new events are to read the chunk again.
_REREAD = "insert into changed_chunks (uuid_ts) select unnest(%s::timestamptz[])"
_DISCARDS = """
    delete from discarded_values as stored using erased_keys as keys
    where keys.subject = %s and stored.event_id = keys.id
        and stored.original_timestamp is not distinct from keys.original_timestamp
    returning 1
"""
#: Discarded values that may name somebody, of events that stay.
_OF_OTHERS = f"""
    value ~ '{_MAY_NAME}' and not exists (
        select from erased_keys as keys
        where keys.id = event_id and keys.original_timestamp is not distinct from discarded_values.original_timestamp
    )
"""
#: What goes with the events of a person, by place.
_RELATED = """
    select
        (
            select count(*) from discarded_values as stored
            inner join erased_keys as keys on stored.event_id = keys.id
                and stored.original_timestamp is not distinct from keys.original_timestamp
            where keys.subject = %(number)s
        ) as discarded_values,
        (select count(*) from segment_members where user_id = any(%(names)s)) as segment_members,
        (select count(*) from stored_people where name = any(%(names)s)) as figures
"""
#: The names in the figures, at once; the sums are computed again by the next refresh.
_FIGURES = """
    with renamed as (
        update stored_people set name = 'erased-' || gen_random_uuid() where name = any(%s) returning 1
    ), stale as (
        update refreshed set definition = ''
        where exists (select from renamed) or exists (select from erased_keys where subject = %s)
    ), untaken as (
        update chunks set is_taken = false
        where uuid_ts in (select uuid_ts from erased_keys where subject = %s)
        returning uuid_ts
    ), changed as (
        insert into changed_chunks (uuid_ts) select uuid_ts from untaken
    )
    select count(*) from renamed
"""


@dataclass(frozen=True, slots=True)
class Mentions:
    """What names a person by its bytes: numbers of rows to delete, and new bytes of rows to change, by table."""

    gone: Mapping[str, Sequence[int]]
    changed: Mapping[str, Mapping[int, bytes]]
    #: Discarded values, and events with an address in a property: table, original_timestamp, id, whether it is theirs.
    discards: Sequence[int]
    events: Sequence[tuple[str, object, str, bool]]

    @property
    def counts(self) -> Counter[str]:
        """Numbers of rows by table."""
        counts = Counter({table: len(numbers) for table, numbers in self.gone.items()})
        counts.update({table: len(rows) for table, rows in self.changed.items()})
        counts["discarded_values"] += len(self.discards)
        counts["mentions in other events"] += sum(not is_own for *_, is_own in self.events)
        return counts


def find_mentions(warehouse: Warehouse, scrubber: Scrubber, people: int) -> list[Mentions]:
    """Search rejects, dead letters, discarded values and texts of events for people, in the current transaction."""
    found = [Mentions({name: [] for name in _BYTES}, {name: {} for name in _BYTES}, [], []) for _ in range(people)]
    for table, key in _BYTES.items():
        for number, raw in _pages(warehouse, table, key, "raw"):
            owner, kept = scrubber.scrub(bytes(raw))
            if owner is not None and kept is None:
                found[owner].gone[table].append(number)  # type: ignore[attr-defined]
            elif owner is not None and kept is not None:
                found[owner].changed[table][number] = kept  # type: ignore[index]
    for number, value in _pages(warehouse, "discarded_values", "discard_id", "value", _OF_OTHERS):
        for owner in _owners(scrubber, str(value)):
            found[owner].discards.append(number)  # type: ignore[attr-defined]
    for event in _events_with_addresses(warehouse):
        for owner in _owners(scrubber, event[-1]):
            found[owner].events.append(event[:-1])  # type: ignore[attr-defined]
    return found


def count_related(warehouse: Warehouse, number: int, names: Collection[str]) -> Counter[str]:
    """Return how many rows go with the events of a person, by place, in the current transaction."""
    (counts,) = warehouse.fetch(_RELATED, number=number, names=list(names))
    return Counter(dict(zip(("discarded_values", "segment_members", "figures"), counts, strict=True)))


def _owners(scrubber: Scrubber, text: str) -> set[int]:
    names = {name for name in find_identities(text.encode("utf-8", "replace")) if "@" in name}
    return {scrubber.owners[name] for name in names & scrubber.owners.keys()}


def _pages(
    warehouse: Warehouse, table: str, key: str, column: str, condition: str = "true"
) -> Iterator[tuple[int, Any]]:
    after = 0
    query = f"select {key}, {column} from {table} where {key} > %s and {condition} order by {key} limit {_PAGE}"
    while rows := warehouse.fetch(query, after):
        yield from rows
        after = rows[-1][0]


def text_columns(warehouse: Warehouse) -> dict[str, list[str]]:
    """Return the text columns of the event tables beside the standard ones, in the current transaction."""
    return {
        table: [name for name, kind in columns.items() if kind == "text" and name not in STANDARD]
        for table, columns in read_event_columns(warehouse).items()
    }


def _events_with_addresses(warehouse: Warehouse) -> Iterator[tuple[str, object, str, bool, str]]:
    """Yield the events that have an address in a column that is no identity: table, key, whether erased, texts."""
    for table, columns in text_columns(warehouse).items():
        if columns:
            texts = f"concat_ws(' ', {', '.join(map(quote_identifier, columns))})"
            query = _ADDRESSES.format(place=warehouse.qualified(table), texts=texts, pattern=_MAY_NAME)
            for time, id_, is_own, text in warehouse.fetch(query, None):
                yield table, time, id_, is_own, text


def remove_person(
    warehouse: Warehouse, number: int, names: Collection[str], found: Mentions, token: str | None
) -> Counter[str]:
    """Remove a person from all tables, in the current transaction; return the number of rows by place.

    With a `token`, events stay, and the token stands for the person in them. Waits for a refresh that is running.
    """
    warehouse.lock_in_transaction(advisory_locks.REFRESH)
    counts = Counter[str]()
    tables = read_event_columns(warehouse)
    personal = read_personal_properties(warehouse)
    rules = {setting["name"]: setting["value"] for setting in read_settings(warehouse.fetch, warehouse.schema)}
    agents = {"proxies": rules["proxy_agents"], "machines": rules["machine_agents"]}
    theirs = f"(select * from erased_keys where subject = {number}) as theirs"
    for table, columns in tables.items():
        if token:
            changes = _replacements(columns, personal)
            counts[table] += update_rows(warehouse, table, theirs, changes, token=token, **agents)
        else:
            counts[table] += delete_rows(warehouse, table, theirs)
    counts["discarded_values"] += len(warehouse.fetch(_DISCARDS, number))
    crash_point("erase.deleting")
    counts["discarded_values"] += _delete(warehouse, "discarded_values", "discard_id", found.discards)
    for table, key in _BYTES.items():
        counts[table] += _delete(warehouse, table, key, found.gone[table])
        for row, raw in found.changed[table].items():
            warehouse.fetch(f"update {table} set raw = %s where {key} = %s", raw, row)
            counts[table] += 1
    counts["segment_members"] += len(
        warehouse.fetch("delete from segment_members where user_id = any(%s) returning 1", list(names))
    )
    counts.update(_erase_texts(warehouse, names, found, token or ERASED))
    ((counts["figures"],),) = warehouse.fetch(_FIGURES, list(names), number, number)
    if counts["mentions in other events"]:
        warehouse.fetch("update refreshed set definition = ''")
    return +counts


def _replacements(columns: Mapping[str, str], personal: Collection[str]) -> str:
    """Return the assignments that replace what identifies a person by a token."""
    address = "%(token)s::text || '@erased.invalid'"
    given = {
        "user_id": "%(token)s::text",
        "anonymous_id": f"case when stored.anonymous_id like '%%@%%' then {address} else %(token)s::text end",
        "context_traits_email": address,
        "context_ip": "%(token)s::text",
        "context_user_agent": _AGENT,
    }
    given |= {name: "%(token)s::text" for name in personal if columns.get(name) == "text" and name not in STANDARD}
    return ", ".join(
        f"{quote_identifier(name)} = case when stored.{quote_identifier(name)} is not null then {value} end"
        for name, value in given.items()
        if name in columns
    )


#: A user agent that the rules on agents judge as the one before, so that figures stay; those of machines say no more
#: than that, and stay where no part of them is judged alike.
_AGENT = """(
    select case
        when not judged.is_proxy and not judged.is_machine then %(token)s::text
        when (judged.agent ~* %(proxies)s, judged.agent ~* %(machines)s) = (judged.is_proxy, judged.is_machine)
            then judged.agent
        else stored.context_user_agent
    end
    from (
        select
            coalesce(stored.context_user_agent ~* %(proxies)s, false) as is_proxy,
            coalesce(stored.context_user_agent ~* %(machines)s, false) as is_machine,
            %(token)s::text
            || coalesce(' ' || (regexp_match(stored.context_user_agent, %(proxies)s, 'i'))[1], '')
            || coalesce(' ' || (regexp_match(stored.context_user_agent, %(machines)s, 'i'))[1], '') as agent
    ) as judged
)"""


def _delete(warehouse: Warehouse, table: str, key: str, numbers: Sequence[int]) -> int:
    return len(warehouse.fetch(f"delete from {table} where {key} = any(%s) returning 1", list(numbers)))


def _erase_texts(warehouse: Warehouse, names: Collection[str], found: Mentions, text: str) -> Counter[str]:
    """Replace the addresses of a person in texts of other events, and in errors that quote events."""
    counts = Counter[str]()
    addresses = sorted(name for name in names if "@" in name)
    if not addresses:
        return counts
    pattern = "|".join(map(address_pattern, addresses))
    columns = text_columns(warehouse)
    for table, time, id_, is_own in found.events:
        changes = ", ".join(
            f"{name} = regexp_replace({name}, %(pattern)s, %(text)s, 'gi')"
            for name in map(quote_identifier, columns[table])
        )
        query = _MENTION.format(place=warehouse.qualified(table), changes=changes)
        changed = [chunk for (chunk,) in warehouse.fetch(query, pattern=pattern, text=text, time=time, id=id_)]
        warehouse.fetch(_REREAD, changed)
        counts["mentions in other events"] += 0 if is_own else len(changed)
    for table, column in _TEXTS.items():
        counts[f"{table}.{column}"] += len(
            warehouse.fetch(
                f"update {table} set {column} = regexp_replace({column}, %(pattern)s, %(text)s, 'gi') "
                f"where {column} ~* %(pattern)s returning 1",
                pattern=pattern,
                text=text,
            )
        )
    return counts
