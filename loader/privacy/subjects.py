"""The people to erase, as they are named on the command line or in a file."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from loader.errors import InputError, UsageError
from loader.events.identities import normalize_address

COLUMNS = ("user_id", "email")


@dataclass(frozen=True, slots=True)
class Subject:
    """A person as named: a user id, an e-mail address in one spelling, or both."""

    user_id: str | None = None
    email: str | None = None

    @property
    def names(self) -> list[str]:
        """The identities, in a fixed order."""
        return sorted({name for name in (self.user_id, self.email) if name})


def read_subject(user_id: str | None, email: str | None) -> Subject:
    """Return a subject.

    Raises UsageError if neither is given, or the address is none.
    """
    address = normalize_address(email)
    if email and address is None:
        raise UsageError(f"{email!r} is no e-mail address")
    if not (user_id or address):
        raise UsageError("name a person with a user id or an e-mail address")
    return Subject(user_id or None, address)


def read_subjects(path: Path) -> list[Subject]:
    """Return the subjects in a CSV file with the columns `user_id`, `email`, or both, each once.

    Raises InputError that names the line of a row that is malformed, or has no valid person.
    """
    try:
        content = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as exc:
        raise InputError(f"{str(path)!r} cannot be read: {exc}") from exc
    rows = csv.reader(content.splitlines(), strict=True)
    try:
        return list(dict.fromkeys(_read_rows(rows)))
    except (csv.Error, UsageError) as exc:
        raise InputError(f"line {rows.line_num} of {str(path)!r}: {exc}; nothing is erased") from exc


def _read_rows(rows: Iterator[Sequence[str]]) -> Iterator[Subject]:
    header = [name.strip().lower() for name in next(rows, [])]
    if not header or len(set(header)) < len(header) or not set(header) <= set(COLUMNS):
        raise UsageError("the header must be user_id, email, or both")
    for row in rows:
        if len(row) != len(header):
            raise UsageError(f"{len(row)} cells instead of {len(header)}")
        cells = dict(zip(header, row, strict=True))
        yield read_subject(cells.get("user_id"), cells.get("email"))
