"""Convert a parsed chunk whose events have very many names into a batch, by flattening them."""

from collections.abc import Mapping
from dataclasses import replace

import pyarrow as pa

from loader.duckdb import Session
from loader.events.fields import CONTEXT, PROPERTIES, property_name
from loader.schema.catalog import Catalog
from loader.schema.event_tables import TRACKS
from loader.transform.assemble import Assembly, merge_discards
from loader.transform.batch import Batch, Part, mark_duplicates
from loader.transform.discards import SCHEMA
from loader.transform.extract import Column
from loader.transform.flatten import FlatDiscards, Flattener
from loader.transform.limits import MAX_EVENT_KEYS, TOO_COMPLEX, check_cells
from loader.transform.parse import ParsedChunk
from loader.transform.shapes import mark_wrong_kind

_REJECT_COMPLEX = f"""
    update envelope set verdict = '{TOO_COMPLEX}'
    where verdict is null and strlen(line) > 2 * {MAX_EVENT_KEYS}
        and strlen(line) - strlen(replace(line, '":', '')) > 2 * {MAX_EVENT_KEYS}
"""
_EVENT_NAMES = "select distinct event_text from envelope where verdict is null"
_EVENT_COUNTS = """
    select event, count(*) from envelope join events using (event_text) where verdict is null group by event
    order by event
"""
#: In order of time: the type of a column is that of its first value.
_EVENTS = """
    select n, event, line from envelope join events using (event_text)
    where verdict is null
    order by original_timestamp, id
"""
_MISFITS = """
    select envelope.n, event, lines.line from envelope join events using (event_text) join lines using (n)
    where envelope.n in (select n from misfits)
"""
_REPLACE_EVENTS = """
    create or replace temp table envelope as
    select envelope.* replace (coalesce(flat.line, envelope.line) as line) from envelope left join flat using (n)
"""
#: The values of repeated keys keep their spelling.
_DISCARDS = """
    select n, id as event_id, original_timestamp, event as table_name, property,
        case when reason = 'repeated_key' then value else json(value)::varchar end as value, reason
    from discards join envelope using (n) join events using (event_text)
    order by place
"""


def assemble_flat(prepared: ParsedChunk, catalog: Catalog) -> Batch:
    """Return the batch of a chunk; create missing tables and columns.

    Raises TooLargeError if the chunk has to be split.
    """
    assembly, session = Assembly(prepared, catalog), prepared.session
    for key in (CONTEXT, PROPERTIES):
        mark_wrong_kind(session, key)
    session.execute(_REJECT_COMPLEX)
    tables, failures = assembly.name_tables(event for (event,) in session.rows(_EVENT_NAMES))
    repeated = mark_duplicates(session, tables)
    parts, discards = _extract(assembly)
    return assembly.batch(parts, discards, repeated, failures)


def _extract(assembly: Assembly) -> tuple[dict[str, Part], Part]:
    """Return the rows of each table, and the discarded values."""
    session, catalog = assembly.prepared.session, assembly.catalog
    discards = assembly.read_unread_times()
    flattener = Flattener(catalog)
    filled = flattener.add_columns(session.stream(_EVENTS))
    rows = dict(session.rows(_EVENT_COUNTS))
    columns = {table: _columns(table, filled.get(table, set()), catalog) for table in rows}
    shared = _columns(TRACKS, filled.get(TRACKS, set()), catalog)
    check_cells(sum(count * (len(columns[table]) + len(shared)) for table, count in rows.items()))
    discards.append(_flatten(session, flattener))
    catalog.record(flattener.names())
    known = frozenset(path for own in (*columns.values(), shared) for column in own for path in column.paths)
    flat = replace(assembly, prepared=replace(assembly.prepared, objects=known))
    parts, unfit = flat.read_rows(columns, shared, set(), rows)
    return parts, merge_discards(
        [*discards, _with_names(session, flattener, pa.concat_tables([SCHEMA.empty_table(), *unfit]))]
    )


def _columns(table: str, names: set[str], catalog: Catalog) -> list[Column]:
    """Return columns that are filled by the values with their names in flat events."""
    kinds: Mapping[str, str] = catalog.columns(table)
    return [Column(name, kinds[name], ((name,),)) for name in sorted(names) if catalog.can_have_column(name)]


def _flatten(session: Session, flattener: Flattener) -> pa.Table:
    """Replace the events in `envelope` by flat ones, and return the discarded values."""
    discards, numbers, texts = FlatDiscards(), list[int](), list[str]()
    for n, table, text in session.stream(_EVENTS):
        event = flattener.flatten(table, text)
        discards.add(n, event.discards)
        numbers.append(n)
        texts.append(event.text())
    session.register("flat", pa.table({"n": pa.array(numbers, pa.int32()), "line": pa.array(texts, pa.string())}))
    session.execute(_REPLACE_EVENTS)
    session.register("discards", discards.table())
    return session.arrow(_DISCARDS).cast(SCHEMA)


def _with_names(session: Session, flattener: Flattener, misfits: pa.Table) -> pa.Table:
    """Return discarded values of columns with the names of the properties that filled these."""
    names: list[str] = misfits["property"].to_pylist()
    places: dict[int, list[int]] = {}
    for place, n in enumerate(misfits["n"].to_pylist()):
        places.setdefault(n, []).append(place)
    session.register("misfits", misfits.select(["n"]))
    for n, table, text in session.stream(_MISFITS):
        columns = flattener.flatten(table, text).columns
        for place in places[n]:
            names[place] = property_name(columns[names[place]][0])
    index = misfits.schema.get_field_index("property")
    return misfits.set_column(index, "property", pa.array(names, pa.string()))
