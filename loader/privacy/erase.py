"""Erase people, or anonymize their events: find them, suppress them, and remove them from files, tables and figures.

The order lets an erasure that was killed be repeated to its end: suppression comes first, so that nothing new arrives;
then the files, while the tables still know which identities belong together; then one transaction a person; then the
figures. The log has the person from the first step on, and the next refresh computes the figures again in any case.
"""

import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loader.config import Settings
from loader.crash_points import crash_point
from loader.errors import BusyError, LoaderError, UsageError
from loader.pipeline.suppression import change_list
from loader.postgres import advisory_locks
from loader.postgres.connection import Warehouse
from loader.privacy.event_rows import vacuum
from loader.privacy.files import scrub_home, scrub_spool
from loader.privacy.log import begin_erasure, finish_erasure, record_removed
from loader.privacy.person import Person, find_events, find_person, prepare_pairs
from loader.privacy.retention import finish_deletion
from loader.privacy.scrubbing import Scrubber
from loader.privacy.subjects import Subject
from loader.privacy.tables import Mentions, count_related, find_mentions, remove_person
from loader.privacy.unreachable import find_unreachable
from loader.quoting import quote_identifier
from loader.schema.source import open_warehouse
from loader.views.refresh import refresh

#: How long an erasure waits for a lock on a table, and how long one of its transactions may take.
LOCK_TIMEOUT, STATEMENT_TIMEOUT = "1min", "6h"


@dataclass(frozen=True, slots=True)
class ErasureOptions:
    """How to erase. `spool` and `home` are the folders to search beside the database."""

    spool: Path
    home: Path
    #: Keep the events, with a random token instead of the person.
    is_anonymizing: bool = False
    #: Leave out addresses that others share, unless they were asked for; or erase these others too.
    is_exact: bool = False
    is_shared: bool = False

    @property
    def mode(self) -> str:
        return "anonymize" if self.is_anonymizing else "erase"


@dataclass(slots=True)
class Erasure:
    """What is known of one person: identities, and the number of rows and lines by place that go, or have gone."""

    person: Person
    counts: Counter[str] = field(default_factory=Counter)
    mentions: Mentions | None = None
    erasure_id: int | None = None
    unreachable: Sequence[Mapping[str, str]] = ()

    @property
    def is_ambiguous(self) -> bool:
        """Whether others share an address with the person."""
        return bool(self.person.others)

    def as_json(self) -> dict[str, Any]:
        """Return the object that `privacy erase --json` prints."""
        return {
            "erasure_id": self.erasure_id,
            "identities": sorted(self.person.names),
            "shared_addresses": sorted(self.person.shared),
            "others": sorted(self.person.others),
            "removed": dict(sorted((+self.counts).items())),
            "unreachable": list(self.unreachable),
        }


#: Asks whether to erase what has been found.
Confirm = Callable[[Sequence[Erasure]], bool]


def plan_erasure(settings: Settings, subjects: Sequence[Subject], options: ErasureOptions) -> list[Erasure]:
    """Return what an erasure would remove, and change nothing."""
    with open_warehouse(settings, "erase") as warehouse:
        return _find(warehouse, subjects, options, is_dry=True)


def erase(
    settings: Settings, subjects: Sequence[Subject], options: ErasureOptions, confirm: Confirm
) -> list[Erasure] | None:
    """Erase people; return what has been removed of each, or None if it was not confirmed.

    Raises BusyError if another erasure is running, UsageError if others share an address with a person and the options
    do not say what to do, ContentionError if somebody holds a lock on a table: repeated, it goes on to the end.
    """
    with open_warehouse(settings, "erase") as warehouse, only_erasure(warehouse):
        finish_deletion(settings, warehouse)
        planned = _find(warehouse, subjects, options, is_dry=True)
        _check_ambiguous(planned, options)
        if not confirm(planned):
            return None
        with warehouse.transaction(LOCK_TIMEOUT):
            for erasure in planned:
                _suppress(warehouse, erasure, options)
        crash_point("erase.suppressed")
        erasures = _find(warehouse, subjects, options, is_dry=False)
        with warehouse.transaction(LOCK_TIMEOUT):
            for erasure in erasures:  # with what has arrived since the first look
                _suppress(warehouse, erasure, options)
                record_removed(warehouse, erasure.erasure_id or 0, erasure.counts)
        crash_point("erase.scrubbed")
        for number, erasure in enumerate(erasures):
            _remove(warehouse, number, erasure, options)
        crash_point("erase.deleted")
        refresh(settings)
        ops = quote_identifier(warehouse.ops)
        vacuum(warehouse, *(f"{ops}.{name}" for name in ("rejected_events", "discarded_values", "undelivered_events")))
        for erasure in erasures:
            with warehouse.transaction():
                finish_erasure(warehouse, erasure.erasure_id or 0, erasure.unreachable)
    return erasures


@contextmanager
def only_erasure(warehouse: Warehouse) -> Iterator[None]:
    """Let no other erasure of the source run during the body; raise BusyError if one does."""
    key = advisory_locks.ERASURE, warehouse.ops
    if not warehouse.try_lock(*key):
        raise BusyError("another erasure is running; try again when it has ended")
    yield
    warehouse.unlock(*key)


def _check_ambiguous(planned: Sequence[Erasure], options: ErasureOptions) -> None:
    if options.is_exact or options.is_shared:
        return
    for erasure in planned:
        if erasure.is_ambiguous:
            raise UsageError(
                f"{', '.join(erasure.person.subject.names)} shares {', '.join(sorted(erasure.person.shared))} with "
                f"{', '.join(sorted(erasure.person.others))}; erase them too with --include-shared, or keep what is "
                "shared with --only-exact"
            )


def _find(warehouse: Warehouse, subjects: Sequence[Subject], options: ErasureOptions, *, is_dry: bool) -> list[Erasure]:
    """Find people and all that names them; remove them from files unless `is_dry`."""
    with warehouse.transaction(LOCK_TIMEOUT, STATEMENT_TIMEOUT):
        prepare_pairs(warehouse)
        people = [
            find_person(warehouse, subject, is_exact=options.is_exact, is_shared=options.is_shared)
            for subject in subjects
        ]
        erasures = [Erasure(person) for person in people]
        for number, events in enumerate(find_events(warehouse, people)):
            erasure, names = erasures[number], people[number].names
            erasure.unreachable = find_unreachable(warehouse, number, names)
            if is_dry:
                erasure.counts.update(events)
                erasure.counts.update(count_related(warehouse, number, names))
        scrubber = Scrubber({name: n for n, person in enumerate(people) for name in person.names})
        for erasure, mentions in zip(erasures, find_mentions(warehouse, scrubber, len(people)), strict=True):
            erasure.mentions = mentions
            if is_dry:
                erasure.counts.update(mentions.counts)
    for (number, place), count in scrub_spool(options.spool, warehouse.schema, scrubber, is_dry=is_dry).items():
        erasures[number].counts[place] += count
    if files := scrub_home(options.home, scrubber, is_dry=is_dry):
        for erasure in erasures:
            erasure.counts["files in the loader's home"] += files
    return erasures


def _suppress(warehouse: Warehouse, erasure: Erasure, options: ErasureOptions) -> None:
    change_list(warehouse, add=erasure.person.names, reason="erased")
    erasure.erasure_id = begin_erasure(warehouse, erasure.person.subject, options.mode, len(erasure.person.names))


def _remove(warehouse: Warehouse, number: int, erasure: Erasure, options: ErasureOptions) -> None:
    """Remove a person from the tables, in one transaction, and record what was removed."""
    token = f"erased-{secrets.token_hex(16)}" if options.is_anonymizing else None
    if erasure.mentions is None:
        raise LoaderError("the person has not been searched for")
    with warehouse.transaction(LOCK_TIMEOUT, STATEMENT_TIMEOUT):
        counts = remove_person(warehouse, number, erasure.person.names, erasure.mentions, token)
        record_removed(warehouse, erasure.erasure_id or 0, counts, "deleted")
    erasure.counts.update(counts)
