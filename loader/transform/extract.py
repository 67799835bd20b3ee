"""Build DuckDB queries that extract the values of events as columns of their tables."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from loader.duckdb import cast_sql, objects_only
from loader.events.fields import COLUMN_FIELDS, MAX_DEPTH, Path, pointer
from loader.events.values import TEXT
from loader.quoting import quote_literal

#: Maximum number of columns per query over several tables, as a query searches all its events for all its columns.
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

    `shared` are columns that every table has. `mixed` are paths with values in some events and with objects, whose
    values have columns of their own, in others.
    """
    tables: list[str] = []
    columns = dict.fromkeys(shared)
    for table, own in layouts.items():
        if tables and len(columns.keys() | own) > MAX_WIDTH:
            yield tables, _query(tables, list(columns), mixed)
            tables, columns = [], dict.fromkeys(shared)
        tables.append(table)
        columns |= dict.fromkeys(own)
    if tables:
        yield tables, _query(tables, list(columns), mixed)


def _query(tables: Sequence[str], columns: Sequence[Column], mixed: set[Path]) -> Query:
    places = {path: i for i, path in enumerate(dict.fromkeys(p for column in columns for p in column.paths), 1)}
    values = {path: _value(path, i, mixed) for path, i in places.items()}
    selected, unfit = [], []
    for column in columns:
        expressions, leftovers = _column(column, values)
        selected.append(expressions)
        unfit += leftovers
    extracted = ", ".join(quote_literal(pointer(path)) for path in places)
    outputs = ", ".join(f"{sql} as c{i}" for i, sql in enumerate([*selected, *(sql for sql, _ in unfit)]))
    sql = f"""
        select n, {", ".join(f'"{name}"' for name in COLUMN_FIELDS)}{", " + outputs if outputs else ""}
        from (
            select envelope.*, event, {f"json_extract_string(line, [{extracted}])" if places else "null"} as v
            from envelope join events using (event_text)
            where verdict is null and event in ({", ".join(map(quote_literal, tables))})
        )
    """
    return Query(sql, columns, [value for _, value in unfit])


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


def _column(column: Column, values: Mapping[Path, str]) -> tuple[str, list[tuple[str, UnfitValue]]]:
    """Return SQL for a column, and for the values that may not fit into it, as JSON."""
    texts = [values[path] for path in column.paths]
    chosen = f"coalesce({', '.join(texts)})" if len(texts) > 1 else texts[0]
    fitting = cast_sql(chosen, column.kind)
    unfit = []
    for i, path in enumerate(column.paths):
        before = f"coalesce({', '.join(['null', *texts[:i]])})"
        json = f"json_extract(line, {quote_literal(pointer(path))})::varchar"
        if i:
            condition = f"{before} is not null and {texts[i]} is not null"
            unfit.append((f"case when {condition} then {json} end", UnfitValue(column, path, "collision")))
        if column.kind != TEXT:
            condition = f"{before} is null and {texts[i]} is not null and ({fitting}) is null"
            unfit.append((f"case when {condition} then {json} end", UnfitValue(column, path, "misfit")))
    return fitting, unfit
