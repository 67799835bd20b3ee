"""Write SQL for the values of one of the site's tables, whose columns and types vary."""

from collections.abc import Mapping
from dataclasses import dataclass

from loader.quoting import quote_identifier

_NUMBERS = {"smallint", "integer", "bigint", "numeric", "real", "double precision"}
#: SQL for the placeholders as rows, which are hashed: comparing each id with each placeholder takes five times as long.
_NOBODY = "(select unnest(names) from placeholders)"
_MOMENTS = {"timestamp with time zone", "timestamp without time zone"}


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the site's data: its columns by name, with their types."""

    schema: str
    name: str
    columns: Mapping[str, str]

    @property
    def source(self) -> str:
        return f"{quote_identifier(self.schema)}.{quote_identifier(self.name)}"

    def column(self, *names: str) -> str | None:
        """Return the first of these columns that exists."""
        return next((name for name in names if name in self.columns), None)

    def text(self, *names: str) -> str:
        """Return SQL for the first of these columns that exists, as text, else `null`."""
        name = self.column(*names)
        return f"{quote_identifier(name)}::text" if name else "null"

    def utc_text(self, name: str) -> str:
        """Return SQL for an existing column as text, the same in each session: a time is in UTC."""
        if self.columns[name] == "timestamp with time zone":
            return f"({quote_identifier(name)} at time zone 'UTC')::text"
        return self.text(name)

    def moment(self, *names: str) -> str:
        """Return SQL for the first of these columns that is a time, else `null`. A time without a zone is UTC."""
        for name in names:
            kind = self.columns.get(name)
            if kind in _MOMENTS:
                return (
                    quote_identifier(name)
                    if kind == "timestamp with time zone"
                    else f"{quote_identifier(name)} at time zone 'UTC'"
                )
        return "null"

    def day(self, name: str) -> str:
        """Return SQL for a column as a date, in UTC, `null` if it is neither a date nor a time."""
        if self.columns.get(name) == "date":
            return quote_identifier(name)
        moment = self.moment(name)
        return moment if moment == "null" else f"({moment} at time zone 'UTC')::date"

    def amount(self, *names: str) -> str:
        """Return SQL for the first of these columns that exists, as a finite number, else `null`.

        Text is read by the function `read_amount`.
        """
        name = self.column(*names)
        if name is None:
            return "null"
        if self.columns[name] in _NUMBERS:
            number = f"{quote_identifier(name)}::numeric"
            return f"case when {number} > '-Infinity' and {number} < 'Infinity' then {number} end"
        return f"(read_amount({self.text(name)})).amount"

    def unread_amount(self, *names: str, is_needed: bool) -> str:
        """Return SQL for the text of an amount that cannot be read, `null` where it can be.

        A missing amount is an empty text if it is needed, else `null`.
        """
        amount, sent = self.amount(*names), f"trim_blanks({self.text(*names)})"
        text = f"coalesce({sent}, '')" if is_needed else f"nullif({sent}, '')"
        return f"case when {amount} is null then {text} end"

    def currency(self, name: str, *amounts: str) -> str:
        """Return SQL for a currency: that of a column, else the one beside the amount, in one spelling."""
        found = [] if self.column(name) is None else [f"read_currency({self.text(name)})"]
        amount = self.column(*amounts)
        if amount and self.columns[amount] not in _NUMBERS:
            found.append(f"read_currency((read_amount({self.text(amount)})).currency)")
        return f"coalesce({', '.join(found)})" if found else "null"

    def identifier(self, *names: str) -> str:
        """Return SQL for the first of these columns that exists, `null` where it is a placeholder."""
        sent = self.text(*names)
        return sent if sent == "null" else f"case when lower(trim_blanks({sent})) not in {_NOBODY} then {sent} end"

    def address(self, *names: str) -> str:
        """Return SQL for the first of these columns that exists as an e-mail address, `null` where it is none."""
        found = f"normalize_address({self.text(*names)})"
        return f"case when {found} not in {_NOBODY} then {found} end"
