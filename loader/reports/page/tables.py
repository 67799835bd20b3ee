"""Write the parts of a page that are tables: rows with small bars, and the figures of a chart."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

#: The longest bar beside a number, in pixels.
BAR = 55


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page; `lead` and `body` are HTML."""

    name: str
    title: str
    lead: str
    body: str


def draw_bar(value: float, largest: float, kind: str = "a", width: int = BAR) -> str:
    """Return a bar beside a number."""
    pixels = round(width * max(value, 0) / largest) if largest else 0
    return f'<span class="bar {kind}" style="width:{pixels}px"></span>'


def write_head(columns: Sequence[tuple[str, str]]) -> str:
    """Return the head of a table; each column has a class and a text, the first of which only screen readers get."""
    (_, name), *others = columns
    cells = "".join(f'<th scope="col" class="{kind}">{escape(text)}</th>' for kind, text in others)
    return f'<thead><tr><th scope="col"><span class="hidden">{escape(name)}</span></th>{cells}</tr></thead>'


def write_row(name: str, cells: Iterable[tuple[str, str]]) -> str:
    """Return a row; `name` and the cells, each with a class, are HTML."""
    written = "".join(f'<td class="{kind}">{text}</td>' for kind, text in cells)
    return f'<tr><th scope="row">{name}</th>{written}</tr>'


def write_figures(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return the figures of a chart as a table, which a click opens."""
    head = write_head([("", columns[0]), *(("n", column) for column in columns[1:])])
    body = "".join(write_row(escape(name), [("n", escape(cell)) for cell in cells]) for name, *cells in rows)
    return f"<details><summary>as a table</summary><table>{head}<tbody>{body}</tbody></table></details>"


def write_legend(*entries: tuple[str, str]) -> str:
    """Return the legend of a chart: a class and a text for each colour."""
    items = "".join(f'<span class="key"><i class="{kind}"></i>{escape(text)}</span>' for kind, text in entries)
    return f'<p class="legend" aria-hidden="true">{items}</p>'
