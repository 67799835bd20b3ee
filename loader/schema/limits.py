"""How many tables and columns a load may create: new names from a sender create them."""

from dataclasses import dataclass

MAX_COLUMNS, MAX_TABLES = 500, 200


@dataclass(frozen=True, slots=True)
class SchemaLimits:
    """The maximum number of columns per table, and of event tables per source."""

    columns: int = MAX_COLUMNS
    tables: int = MAX_TABLES
