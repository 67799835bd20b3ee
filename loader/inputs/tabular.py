"""Map the columns of a table to fields of an event, and convert its rows to JSON."""

import json
from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from loader.duckdb import Session, in_zone
from loader.errors import InputError
from loader.events.fields import COLUMN_FIELDS, CONTEXT, NOT_COLUMNS, PROPERTIES, TIME_FIELDS, Path
from loader.events.times import UTC

#: Names that occur in Segment's JSON only. If a table has one of them, its columns are named as in the JSON.
_SEGMENT = {*COLUMN_FIELDS.values(), CONTEXT, PROPERTIES} - COLUMN_FIELDS.keys()
#: The time at which a row was loaded into the exported table. It is not loaded.
_OURS = "uuid_ts"
#: Required columns, one of each set, and their description in errors.
_REQUIRED = (
    ({"userId", "anonymousId"}, "user_id (userId) or anonymous_id (anonymousId)"),
    ({"event", "type"}, "event_text or event"),
    (set(TIME_FIELDS), "one of original_timestamp, timestamp, sent_at, received_at (originalTimestamp, …)"),
)


def read_headings(names: Sequence[str], uri: str) -> list[Path | None]:
    """Return the path in an event that each column fills; None for a column that is not loaded.

    Raises InputError if two columns fill the same path, or a required one is missing.

    >>> read_headings(["user_id", "event", "sent_at", "context_ip", "revenue"], "x")[2:]
    [('sentAt',), ('context', 'ip'), ('properties', 'revenue')]
    >>> read_headings(["userId", "event", "timestamp", "context.traits.email", "properties"], "x")[3:]
    [('context', 'traits', 'email'), ('properties',)]
    """
    clean = [name.strip() for name in names]
    is_json = any(name.partition(".")[0] in _SEGMENT for name in clean)
    paths: list[Path | None] = []
    for name in clean:
        path = _path(name, is_json, has_text="event_text" in clean)
        if path and path in paths:
            first, place = paths.index(path), len(paths)
            raise InputError(
                f"{uri!r} has two columns for {'.'.join(path)!r}: {clean[first]!r} in {_column(first)} and {name!r} in "
                f"{_column(place)}; rename or remove one of them"
            )
        paths.append(path)
    missing = [names for fields, names in _REQUIRED if not any((field,) in paths for field in fields)]
    if missing:
        existing = ", ".join(name for name in clean[:20])
        raise InputError(f"{uri!r} has no column {', nor '.join(missing)}; add it or rename one of {existing}")
    return paths


def _column(place: int) -> str:
    """Return the number and the letters, as in a spreadsheet, of the column at a place.

    >>> _column(0), _column(25), _column(26), _column(16383)
    ('column 1 (A)', 'column 26 (Z)', 'column 27 (AA)', 'column 16384 (XFD)')
    """
    letters, rest = "", place + 1
    while rest:
        rest, letter = divmod(rest - 1, 26)
        letters = chr(ord("A") + letter) + letters
    return f"column {place + 1} ({letters})"


def _path(name: str, is_json: bool, *, has_text: bool) -> Path | None:
    if name in {"", _OURS} or (name == "event" and has_text):
        return None
    if is_json and (name in _SEGMENT | NOT_COLUMNS or name.partition(".")[0] in {CONTEXT, PROPERTIES}):
        return tuple(name.split("."))
    if name in COLUMN_FIELDS:
        return (COLUMN_FIELDS[name],)
    if name.startswith(f"{CONTEXT}_"):
        return CONTEXT, name.removeprefix(f"{CONTEXT}_")
    return PROPERTIES, name


_IDENTITIES = ("messageId", "userId", "anonymousId")


class RowsToJson:
    """Converts rows of a table into JSON events, without nulls and NaN."""

    def __init__(self, names: Sequence[str], uri: str, zone: str = UTC) -> None:
        """Raise InputError if required columns are missing. `zone` is that of times without one."""
        self._paths = read_headings(names, uri)
        self._original = names.index("original_timestamp") if "original_timestamp" in names else None
        self._zone = zone
        self._session = Session()

    def texts(self, columns: Sequence[pa.ChunkedArray | pa.Array]) -> pa.Array:
        """Return one JSON text per row (Arrow binary); `columns` are in the order of the names."""
        leaves: dict[Path, pa.ChunkedArray] = {}
        for column, path in zip(columns, self._paths, strict=True):
            if path:
                leaves |= _flattened(path, column)
        if self._original is not None and ("timestamp",) in leaves:  # the table derived it from received_at
            absent = pc.is_null(columns[self._original])
            leaves["timestamp",] = pc.if_else(absent, None, leaves["timestamp",])
        cells = {path: f"c{n}" for n, path in enumerate(leaves)}
        self._session.register("cells", pa.table(list(leaves.values()), list(cells.values())))
        fragments = {path: _json(path, cells[path], leaves[path].type, self._zone) for path in leaves}
        texts = self._session.arrow(f"select {_object((), fragments)} as text from cells")["text"]
        return texts.cast(pa.binary()).combine_chunks() if len(texts) else pa.array([], pa.binary())


def _flattened(path: Path, column: pa.ChunkedArray | pa.Array) -> dict[Path, pa.ChunkedArray]:
    """Return the leaves of a column of structs by path, each in a type that Arrow and DuckDB share."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_struct(column.type):
        names = [field.name for field in column.type]
        table = pa.table([column], ["c"]).flatten()
        inner: dict[Path, pa.ChunkedArray] = {}
        for name, part in zip(names, table.columns, strict=True):
            inner |= _flattened((*path, name), part)
        return inner
    return {path: _plain(path, column)}


def _plain(path: Path, column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type
    if pa.types.is_timestamp(kind):
        return column.cast(pa.timestamp("us", "UTC" if kind.tz else None), safe=False)
    if pa.types.is_null(kind):
        return column.cast(pa.string())
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        try:
            return column.cast(pa.string())
        except pa.ArrowInvalid:
            return column
    if pa.types.is_floating(kind) and (path[-1] in _IDENTITIES or path[-1].endswith(("_id", "Id"))):
        return _whole(column)
    return column


def _whole(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return floats as integers if all are whole: pandas stores 7 as 7.0 in a column with missing values."""
    try:
        return pc.if_else(pc.is_nan(column), None, column).cast(pa.int64())
    except pa.ArrowInvalid:
        return column


def _json(path: Path, cell: str, kind: pa.DataType, zone: str) -> str:
    """Return SQL for a cell as JSON text, null if it is absent."""
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    if pa.types.is_timestamp(kind):
        if kind.tz or zone != UTC:
            cell = f"make_timestamp(epoch_us({cell if kind.tz else in_zone(cell, zone)}))"
        return f"""to_json(replace(strftime({cell}, '%Y-%m-%dT%H:%M:%S.%fZ'), '000Z', 'Z'))::varchar"""
    if pa.types.is_floating(kind):
        return f"""case when isinf({cell}) then to_json({cell}::varchar) when not isnan({cell}) then to_json({cell})
            end::varchar"""
    if is_text and path in {(CONTEXT,), (PROPERTIES,)}:
        is_object = f"json_valid({cell}) and ltrim({cell}, E' \\t\\r\\n') like '{{%'"
        return f"case when {is_object} then {cell} else to_json({cell})::varchar end"
    if is_text and path[-1] in TIME_FIELDS and len(path) == 1:
        cell = f"nullif({cell}, '')"
    return f"to_json({cell})::varchar"


def _object(path: Path, fragments: Mapping[Path, str]) -> str:
    """Return SQL for the text of the JSON object at a path."""
    below = dict.fromkeys(
        found[len(path)] for found in fragments if len(found) > len(path) and found[: len(path)] == path
    )
    members = [f"'{_key(key)}:' || ({_value((*path, key), fragments)})" for key in below]
    if path in fragments:  # a column of JSON text, besides columns for some of its keys
        members.insert(0, f"nullif(regexp_extract({fragments[path]}, '(?s)^\\s*\\{{(.*)\\}}\\s*$', 1), '')")
    return f"'{{' || concat_ws(',', {', '.join(members)}) || '}}'"


def _value(path: Path, fragments: Mapping[Path, str]) -> str:
    has_more = any(len(found) > len(path) and found[: len(path)] == path for found in fragments)
    return f"nullif({_object(path, fragments)}, '{{}}')" if has_more else fragments[path]


def _key(name: str) -> str:
    return json.dumps(name).replace("'", "''")
