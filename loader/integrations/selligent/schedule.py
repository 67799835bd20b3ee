"""Distribute the operations of a batch to as few requests as possible, in order for each person and each record."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from msgspec import Raw

from loader.integrations.selligent.operations import TRIGGER, Operation

#: Number of a record in the batch, and of an operation of that record.
Step = tuple[int, int]


@dataclass(slots=True)
class Entry:
    """Rows with one key, in order: the last one is what is sent, as it replaces all fields of those before."""

    steps: list[Step]
    rows: list[list[Raw]]


@dataclass(slots=True)
class Request:
    """A request: one bulk call, or the trigger of a journey."""

    operation: Operation
    entries: list[Entry] = field(default_factory=list)
    _by_subject: dict[bytes, Entry] = field(default_factory=dict)

    def add(self, step: Step, operation: Operation) -> None:
        """Add a row."""
        subject = operation.subject
        known = self._by_subject.get(subject) if subject is not None else None
        if known:
            known.steps.append(step)
            known.rows.append(operation.row)
            return
        self.entries.append(entry := Entry([step], [operation.row]))
        if subject is not None:
            self._by_subject[subject] = entry


def schedule(steps: Iterable[tuple[Step, str, Operation]]) -> Sequence[Request]:
    """Return requests to be sent one after the other. Each step comes with its person.

    An operation is in a request not earlier than those before it of the same person, or of the same key of a list.
    """
    requests: list[Request] = []
    latest: dict[object, int] = {}
    reached: dict[object, int] = {}
    for step, person, operation in steps:
        subjects: tuple[object, ...] = (person, (operation.place[0], operation.key, operation.subject))
        kind = operation.action, operation.place, operation.key, operation.fields
        after = max(reached.get(subject, 0) for subject in subjects[: 2 if operation.key else 1])
        at = latest.get(kind, -1)
        if at < after or at < 0 or operation.action == TRIGGER:
            at = latest[kind] = len(requests)
            requests.append(Request(operation))
        requests[at].add(step, operation)
        reached.update(dict.fromkeys(subjects, at))
    return requests
