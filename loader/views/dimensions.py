"""Add the properties that the setting `dimensions` names to the views, with their values in the event tables."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from loader.quoting import quote_identifier, quote_literal
from loader.schema.introspection import read_readable_columns
from loader.views.settings import DIMENSION, read_settings
from loader.views.site_tables import Table

#: Where a view of `sql/views` gets its columns.
_COLUMNS = re.compile(r" /\* dimensions \*/")
#: Where it joins them, by the number that a table has.
_JOIN = re.compile(r" /\* join dimensions of (\w+) \*/")
#: Where `recorded_events` gets the values of an event table.
_VALUES = re.compile(r"'' /\* dimensions of (\w+) \*/")


@dataclass(frozen=True, slots=True)
class Dimensions:
    """The properties that the setting names, and the event tables, which may have a column for each."""

    names: Sequence[str]
    tables: Mapping[str, Table]

    def complete(self, view: str, sql: str) -> str:
        """Return the SQL that creates a view, with a column for each property, or with the values of event tables."""
        if not self.names:
            return sql
        sql = _VALUES.sub(lambda found: select_dimensions(self.tables.get(found[1]), self.names), sql)
        if not _COLUMNS.search(sql):
            return sql
        columns = "".join(
            f",\n    dimensions.parts ->> {quote_literal(name)} as {quote_identifier(name)}" for name in self.names
        )
        comments = "".join(
            f"comment on column {view}.{quote_identifier(name)} is "
            f"{quote_literal(f'Property {name}, of the setting dimensions')};\n"
            for name in self.names
        )
        sql = _COLUMNS.sub(lambda _: columns, sql)
        sql = _JOIN.sub(r"\nleft join stored_dimensions as dimensions on \1.dimension = dimensions.dimension", sql)
        return f"{sql.rstrip()}\n{comments}"


def read_dimensions(schema: str, connection: Connection | None) -> Dimensions:
    """Return the properties of the setting; none without a connection."""
    known = (
        {row["name"]: row["value"] for row in read_settings(connection.exec_driver_sql, schema)} if connection else {}
    )
    names = split_dimensions(known.get("dimensions", ""))
    if not names or not connection:
        return Dimensions((), {})
    columns = read_readable_columns(connection, [schema])
    return Dimensions(names, {name: Table(schema, name, found) for (schema, name), found in columns.items()})


def split_dimensions(value: str) -> list[str]:
    """Return the properties that the setting names.

    >>> split_dimensions(" audience_language, audience_segment")
    ['audience_language', 'audience_segment']
    """
    return re.findall(DIMENSION, value)


def select_dimensions(table: Table | None, names: Sequence[str]) -> str:
    """Return SQL for the values of a table's row as a JSON object, an empty text for a row without any."""
    values = [
        f"{quote_literal(name)}, {table.utc_text(name)}"
        for name in names
        if table is not None and name in table.columns
    ]
    if not values:
        return "''"
    return f"coalesce(nullif(jsonb_strip_nulls(jsonb_build_object({', '.join(values)}))::text, '{{}}'), '')"
