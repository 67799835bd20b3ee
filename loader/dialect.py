"""Dialect: how the cells of a CSV file are told apart, and what its bytes mean."""

import codecs
from dataclasses import dataclass

from loader.errors import UsageError


@dataclass(frozen=True, slots=True)
class Dialect:
    """What is known of CSV files beforehand; None is found out from each."""

    delimiter: str | None = None
    encoding: str | None = None

    def __post_init__(self) -> None:
        if self.delimiter is not None and (len(self.delimiter.encode()) != 1 or self.delimiter in '"\r\n'):
            raise UsageError(f"delimiter {self.delimiter!r} cannot be used; give one ASCII character, like ;")
        try:
            codecs.lookup(self.encoding or "utf-8")
        except LookupError:
            raise UsageError(f"encoding {self.encoding!r} is not known; give one like utf-8 or latin-1") from None
