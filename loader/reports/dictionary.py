"""Generate the data dictionary of tables, views and columns from the comments in the database."""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import NamedTuple

from loader.postgres.connection import Warehouse
from loader.schema.introspection import read_comments


class Column(NamedTuple):
    """A column with PostgreSQL's name of its type."""

    name: str
    type: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Relation:
    """A table or view."""

    name: str
    kind: str
    meaning: str
    columns: list[Column]


def read_dictionary(warehouse: Warehouse) -> list[Relation]:
    """Return the views and then the tables of the source's schema."""
    relations: dict[str, Relation] = {}
    for name, is_view, meaning, *column in read_comments(warehouse):
        relation = relations.setdefault(name, Relation(name, "view" if is_view else "table", meaning or "", []))
        relation.columns.append(Column(column[0], column[1], column[2] or ""))
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
    """Return the dictionary as an HTML page without scripts, which fetches nothing."""
    style = files("loader.reports").joinpath("dictionary.css").read_text("utf-8")
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width,initial-scale=1">',
            f"<title>Data dictionary</title>\n<style>\n{style}</style>",
            '<div class="page">\n<h1>Data dictionary</h1>\n<nav>',
            *(_list(relations, kind, heading) for kind, heading in (("view", "Views"), ("table", "Tables"))),
            "</nav>\n<main>",
            *map(_section, relations),
            "</main>\n</div>\n</html>\n",
        ]
    )


def _list(relations: Sequence[Relation], kind: str, heading: str) -> str:
    names = [html.escape(relation.name) for relation in relations if relation.kind == kind]
    return f"<h2>{heading}</h2>\n" + "\n".join(f'<a href="#{name}">{name}</a>' for name in names)


def _section(relation: Relation) -> str:
    name, meaning = html.escape(relation.name), html.escape(f"{relation.kind.capitalize()}. {relation.meaning}.")
    rows = "\n".join(
        f"<tr>{''.join(f'<td>{html.escape(text)}</td>' for text in column)}</tr>" for column in relation.columns
    )
    return (
        f'<section id="{name}">\n<h2>{name}</h2>\n<p>{meaning}</p>\n'
        f"<table>\n<tr><th>column</th><th>type</th><th>meaning</th></tr>\n{rows}\n</table>\n</section>"
    )
