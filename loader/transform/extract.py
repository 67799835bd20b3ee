"""Build DuckDB queries that extract the values of events as columns of their tables."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from loader.duckdb import cast_sql, objects_only
from loader.events.fields import COLUMN_FIELDS, MAX_DEPTH, Path, pointer
from loader.events.values import TEXT
from loader.quoting import quote_literal

#: Columns per query over several tables, unless these share many: a query searches all its events for all its columns.
MAX_WIDTH = 100


@dataclass(frozen=True, slots=True)
class Column:
    """A column, its type, and the paths that may fill it; the first with a value does."""

    name: str
    kind: str
    paths: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class UnfitValue:
    """Values at a path that did not fit into their column, and the reason."""

    column: Column
    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class Query:
    """SQL that returns `n`, the common columns, then `columns`, then one column for each of `leftovers`."""

    sql: str
    columns: Sequence[Column]
    leftovers: Sequence[UnfitValue]


def extraction_queries(
    layouts: Mapping[str, Sequence[Column]], shared: Sequence[Column], mixed: set[Path]
) -> Iterator[tuple[list[str], Query]]:
    """Yield queries for the events of all tables, each with its tables, which share equal columns.

    `shared` are columns that every query has. `mixed` are paths with values in some events and with objects, whose
    values have columns of their own, in others.
    """
    width = max(MAX_WIDTH, 2 * len(shared))  # a narrower query would be planned for the shared columns in the main
    tables: list[str] = []
    columns = dict.fromkeys(shared)
    for table, own in layouts.items():
        if tables and len(columns.keys() | own) > width:
            yield tables, _query(tables, list(columns), mixed)
            tables, columns = [], dict.fromkeys(shared)
        tables.append(table)
        columns |= dict.fromkeys(own)
    if tables:
        yield tables, _query(tables, list(columns), mixed)


def _query(tables: Sequence[str], columns: Sequence[Column], mixed: set[Path]) -> Query:
    places = {path: i for i, path in enumerate(dict.fromkeys(p for column in columns for p in column.paths), 1)}
    values = {path: _value(path, i, mixed) for path, i in places.items()}
    fields = ", ".join(["n", *(f'"{name}"' for name in COLUMN_FIELDS)])
    found = f"""
        select envelope.*, event, {f"json_extract_string(line, [{_pointers(places)}])" if places else "null"} as v
        from envelope join events using (event_text)
        where verdict is null and event in ({", ".join(map(quote_literal, tables))})
    """
    outputs = [f"{cast_sql(_chosen(column.paths, values), column.kind)} as c{i}" for i, column in enumerate(columns)]
    unfit = [found for i, column in enumerate(columns) for found in _unfit(column, f"c{i}", values)]
    sql = f"select {', '.join([fields, *outputs])}{', line, v' if unfit else ''} from ({found})"
    if unfit:
        sql = _with_unfit(sql, fields, len(columns), unfit)
    return Query(sql, columns, [value for _, value in unfit])


def _pointers(paths: Iterable[Path]) -> str:
    return ", ".join(quote_literal(pointer(path)) for path in paths)


def _with_unfit(query: str, fields: str, columns: int, unfit: Sequence[tuple[str, UnfitValue]]) -> str:
    """Return SQL that adds one column of JSON for each unfit value to a query.

    All values of an event are extracted at once, and only if it has such values: each extraction parses the event.
    """
    outputs = ", ".join([fields, *(f"c{i}" for i in range(columns))])
    places = {path: i for i, path in enumerate(dict.fromkeys(value.path for _, value in unfit), 1)}
    conditions = ", ".join(f"{condition} as u{i}" for i, (condition, _) in enumerate(unfit))
    is_any = " or ".join(f"u{i}" for i in range(len(unfit)))
    values = ", ".join(
        f"case when u{i} then w[{places[value.path]}]::varchar end as c{columns + i}"
        for i, (_, value) in enumerate(unfit)
    )
    return f"""
        select {outputs}, {values}
        from (
            select *, case when {is_any} then json_extract(line, [{_pointers(places)}]) end as w
            from (select *, {conditions} from ({query}))
        )
    """


def _value(path: Path, place: int, mixed: set[Path]) -> str:
    """Return SQL for the text at a path, null if an object is there or the path leads through an array."""
    value = f"v[{place}]"
    if path in mixed:
        is_object = f"{value} like '{{%' and json_type(line, {quote_literal(pointer(path))}) = 'OBJECT'"
        value = f"case when {is_object} then null else {value} end"
    if len(path) >= MAX_DEPTH:
        is_empty = f"{value} = '{{}}' and json_type(line, {quote_literal(pointer(path))}) = 'OBJECT'"
        value = f"case when {is_empty} then null else {value} end"
    if condition := objects_only(path):
        value = f"case when {condition} then {value} end"
    return value


def _chosen(paths: Sequence[Path], values: Mapping[Path, str]) -> str:
    """Return SQL for the first text at several paths."""
    texts = [values[path] for path in paths]
    return f"coalesce({', '.join(texts)})" if len(texts) > 1 else texts[0]


def _unfit(column: Column, fitting: str, values: Mapping[Path, str]) -> Iterator[tuple[str, UnfitValue]]:
    """Yield the values that may not fit into a column, each with the SQL condition for that; `fitting` is its value."""
    texts = [values[path] for path in column.paths]
    for i, path in enumerate(column.paths):
        before = f"coalesce({', '.join(['null', *texts[:i]])})"
        if i:
            yield f"{before} is not null and {texts[i]} is not null", UnfitValue(column, path, "collision")
        if column.kind != TEXT:
            condition = f"{before} is null and {texts[i]} is not null and {fitting} is null"
            yield condition, UnfitValue(column, path, "misfit")
