"""Find the whole person: which user ids and addresses belong together, and the events with them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from loader.errors import UsageError
from loader.postgres.connection import Warehouse, operation
from loader.privacy.subjects import Subject
from loader.schema.event_tables import TRACKS

_PAIRS = """
    select user_id, address from identity_pairs where user_id = any(%s) or address = any(%s)
"""
_PLACEHOLDERS = "select names from placeholders"
_NAMES = "create temporary table if not exists erased_names (subject int, name text); truncate erased_names"


@dataclass(slots=True)
class Person:
    """All identities of a person, and what others share with it."""

    subject: Subject
    names: set[str] = field(default_factory=set)
    #: Addresses that several user ids have, and the user ids of others that have them.
    shared: set[str] = field(default_factory=set)
    others: set[str] = field(default_factory=set)


def prepare_pairs(warehouse: Warehouse) -> None:
    """Read which identities belong together, in the current transaction."""
    warehouse.run("set local enable_hashjoin to on; set local work_mem to '256MB'")
    warehouse.run(operation("identity_pairs").format(tracks=warehouse.qualified(TRACKS)))


def find_person(warehouse: Warehouse, subject: Subject, *, is_exact: bool, is_shared: bool) -> Person:
    """Return the person of a subject, in the current transaction, after `prepare_pairs`.

    Identities are followed in both directions, from user ids to addresses and back. An address that several user ids
    have is not followed unless `is_shared`; with `is_exact` it is left out, unless it was asked for.
    Raises UsageError for an identity that stands for nobody.
    """
    ((placeholders,),) = warehouse.fetch(_PLACEHOLDERS)
    if nobody := [name for name in subject.names if name.lower() in placeholders]:
        raise UsageError(f"{nobody[0]!r} stands for nobody: it is in the setting placeholder_ids")
    person = Person(subject, set(subject.names))
    new = set(subject.names)
    while new:
        found = _step(warehouse, person, new, is_shared=is_shared)
        new = found - person.names
        person.names |= new
    person.others -= person.names
    if is_exact:
        person.names -= person.shared - set(subject.names)
    return person


def _step(warehouse: Warehouse, person: Person, names: set[str], *, is_shared: bool) -> set[str]:
    pairs = warehouse.fetch(_PAIRS, sorted(names), sorted(names))
    found = {address for user_id, address in pairs if user_id in names}
    users: dict[str, set[str]] = {}
    for user_id, address in warehouse.fetch(_PAIRS, [], sorted(found | names)):
        users.setdefault(address, set()).add(user_id)
    for address, owners in users.items():
        if len(owners) > 1:
            person.shared.add(address)
            person.others |= owners
        if len(owners) == 1 or is_shared:
            found |= owners
    return found


def find_events(warehouse: Warehouse, people: Sequence[Person]) -> list[dict[str, int]]:
    """Find the events of people, in the current transaction; return for each their number by table, `tracks` too."""
    warehouse.run(_NAMES)
    rows = [(n, name) for n, person in enumerate(people) for name in sorted(person.names)]
    warehouse.fetch(
        "insert into erased_names select * from unnest(%s::int[], %s::text[])",
        [n for n, _ in rows],
        [name for _, name in rows],
    )
    warehouse.run("analyze erased_names; set local enable_hashjoin to on; set local work_mem to '256MB'")
    warehouse.run(operation("erased_keys").format(tracks=warehouse.qualified(TRACKS)))
    counts: list[dict[str, int]] = [{} for _ in people]
    for n, event, count in warehouse.fetch("select subject, event, count(*) from erased_keys group by subject, event"):
        counts[n][event] = count
        counts[n][TRACKS] = counts[n].get(TRACKS, 0) + count
    return counts
