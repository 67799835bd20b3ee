"""Generate the data dictionary of tables, views and columns from the comments in the database."""

import html
from collections.abc import Sequence
from dataclasses import dataclass

from loader.postgres.connection import Warehouse
from loader.schema.introspection import read_comments


@dataclass(frozen=True, slots=True)
class Relation:
    """A table or view; `columns` has the name, type and meaning of each."""

    name: str
    kind: str
    meaning: str
    columns: list[tuple[str, str, str]]


def read_dictionary(warehouse: Warehouse) -> list[Relation]:
    """Return the views and then the tables of the source's schema."""
    relations: dict[str, Relation] = {}
    for name, is_view, meaning, *column in read_comments(warehouse):
        relation = relations.setdefault(name, Relation(name, "view" if is_view else "table", meaning or "", []))
        relation.columns.append((column[0], column[1], column[2] or ""))
    return list(relations.values())


def as_markdown(relations: Sequence[Relation]) -> str:
    """Return the dictionary in Markdown."""
    lines = ["# Data dictionary", ""]
    for relation in relations:
        lines += [f"## {relation.name}", "", f"{relation.kind.capitalize()}. {relation.meaning}.", ""]
        lines += ["| column | type | meaning |", "|---|---|---|"]
        lines += [f"| {' | '.join(text.replace('|', '&#124;') for text in column)} |" for column in relation.columns]
        lines.append("")
    return "\n".join(lines)


def as_html(relations: Sequence[Relation]) -> str:
    """Return the dictionary as an HTML page."""
    parts = ["<!doctype html>", '<meta charset="utf-8">', "<title>Data dictionary</title>", "<h1>Data dictionary</h1>"]
    for relation in relations:
        meaning = html.escape(f"{relation.kind.capitalize()}. {relation.meaning}.")
        parts += [f"<h2>{html.escape(relation.name)}</h2>", f"<p>{meaning}</p>"]
        parts += ["<table>", "<tr><th>column</th><th>type</th><th>meaning</th></tr>"]
        for column in relation.columns:
            cells = "".join(f"<td>{html.escape(text)}</td>" for text in column)
            parts.append(f"<tr>{cells}</tr>")
        parts.append("</table>")
    return "\n".join(parts) + "\n"
