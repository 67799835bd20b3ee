"""Print rows as tables: on a terminal those columns that say something, in a pipe all of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from rich.cells import cell_len
from rich.console import JustifyMethod
from rich.table import Table
from rich.text import Text

from loader.terminal.console import STYLES, is_terminal, open_console

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Layout:
    """How rows are shown on a terminal; in a pipe, a row is one line with all columns."""

    #: Shorter headings of columns.
    headings: Mapping[str, str] = field(default_factory=dict)
    #: Columns that are not shown.
    hidden: frozenset[str] = frozenset()
    #: Columns with sentences, which are shown below the table.
    notes: tuple[str, ...] = ()
    #: Columns of counts that are left out where all of them are 0.
    counts: frozenset[str] = frozenset()
    #: Columns that are left out on a narrow terminal, the first one first.
    optional: tuple[str, ...] = ()


AS_IT_IS = Layout()
#: What an estimated number begins with.
ESTIMATE = "≈ "
#: Columns between two columns of a table, and the width to which a column with text is narrowed at most.
GAP, MIN_TEXT = 2, 20


def print_table(title: str, rows: Sequence[Row], layout: Layout = AS_IT_IS) -> None:
    """Print rows as a table, with the names of their values as headings; print nothing for no rows."""
    if not rows:
        return
    if is_terminal():
        _print_readable(title, rows, layout)
    else:
        _print_lines(title, rows)


def _print_lines(title: str, rows: Sequence[Row]) -> None:
    """Print one line a row, with all columns and times in seconds, for scripts and files."""
    table = _table(title)
    for name, value in rows[0].items():
        table.add_column(name.replace("_", " "), justify="right" if isinstance(value, int | float) else "left")
    for row in rows:
        table.add_row(*(_exact(value) for value in row.values()))
    open_console().print(table, "")


def _print_readable(title: str, rows: Sequence[Row], layout: Layout) -> None:
    console = open_console()
    columns = _fitting(_columns(rows, layout), layout, console.width)
    table = _table()
    for column in columns:
        column.add_to(table)
    for cells in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*cells)
    if title:
        console.print(title.replace("_", " "), style="bold")
    console.print(table)
    if notes := list(_notes(rows, layout)):
        console.print(bullets(notes))
    console.print()


def _table(title: str = "") -> Table:
    return Table(title=title, title_justify="left", box=None, pad_edge=False, title_style="bold", header_style="dim")


@dataclass(frozen=True, slots=True)
class Column:
    """A column as it is shown on a terminal."""

    name: str
    heading: str
    cells: list[Text]
    is_number: bool
    #: Whether its cells must not be broken: they are numbers or times.
    is_whole: bool

    @property
    def min_width(self) -> int:
        """The width that the column needs, in columns of the terminal."""
        width = max(cell_len(self.heading), *(cell.cell_len for cell in self.cells))
        return width if self.is_whole else min(width, MIN_TEXT)

    def add_to(self, table: Table) -> None:
        """Add the column to a table, without its cells."""
        justify: JustifyMethod = "right" if self.is_number else "left"
        table.add_column(
            self.heading, justify=justify, overflow="fold", no_wrap=self.is_whole, min_width=self.min_width
        )


def _columns(rows: Sequence[Row], layout: Layout) -> list[Column]:
    """Return the columns that say something: those that are empty, hidden or notes are left out."""
    columns = []
    for name in rows[0]:
        values = [row[name] for row in rows]
        nothing = (None, "", 0) if name in layout.counts else (None, "")
        if name in layout.hidden or name in layout.notes or all(value in nothing for value in values):
            continue
        first = next(value for value in values if value is not None)
        is_time, is_number = isinstance(first, datetime), _is_number(first)
        heading = layout.headings.get(name, name.replace("_", " ")) + (" UTC" if is_time else "")
        cells = [Text(str(value)) if name.endswith("_id") else _readable(value) for value in values]
        columns.append(Column(name, heading, cells, is_number, is_number or is_time))
    return columns


def _fitting(columns: list[Column], layout: Layout, width: int) -> list[Column]:
    """Leave out optional columns until the others fit."""
    for name in layout.optional:
        if sum(column.min_width + GAP for column in columns) - GAP > width:
            columns = [column for column in columns if column.name != name]
    return columns


def _is_number(value: Any) -> bool:
    if isinstance(value, str):
        return value.startswith(ESTIMATE)
    return isinstance(value, int | float) and not isinstance(value, bool)


def _notes(rows: Sequence[Row], layout: Layout) -> Iterable[str]:
    """Yield each sentence once."""
    return dict.fromkeys(str(row[name]) for row in rows for name in layout.notes if row.get(name))


def bullets(sentences: Iterable[str]) -> Table:
    """Return sentences as a list, whose lines are indented below their arrows."""
    grid = Table.grid(padding=(0, 1))
    grid.add_column(style="dim")
    grid.add_column(overflow="fold")
    for sentence in sentences:
        grid.add_row("→", Text(sentence))
    return grid


def _readable(value: Any) -> Text:
    if isinstance(value, datetime):
        return Text(f"{value.astimezone(UTC):%Y-%m-%d %H:%M}")
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    return Text(_exact(value), STYLES.get(value, "") if isinstance(value, str) else "")


def _exact(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S %Z}"
    if isinstance(value, float):
        return f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
