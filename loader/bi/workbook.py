"""Write rows to an Excel workbook, row by row. A text is never a formula or a link."""

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Any, BinaryIO

import pyarrow as pa
import xlsxwriter
from xlsxwriter.format import Format
from xlsxwriter.worksheet import Worksheet

from loader.reports.dictionary import Column

#: Rows of a sheet below its heading.
MAX_ROWS = 1_048_575
#: Characters of a cell.
MAX_TEXT = 32_767
#: Excel knows no earlier day.
FIRST_DAY = date(1900, 1, 1)
#: Seconds of a day: a duration is a number of days in Excel.
DAY_SECONDS = 86_400
#: Formats of numbers by type, and the width of their columns in characters.
FORMATS = {
    "date": ("yyyy-mm-dd", 12),
    "timestamp with time zone": ("yyyy-mm-dd hh:mm:ss", 20),
    "timestamp without time zone": ("yyyy-mm-dd hh:mm:ss", 20),
    "interval": ("[h]:mm:ss", 12),
    "bigint": ("#,##0", 12),
    "integer": ("#,##0", 12),
}
RATE, TEXT_WIDTH, NUMBER_WIDTH = "0.0%", 24, 12
OPTIONS = {
    "constant_memory": True,
    "strings_to_formulas": False,
    "strings_to_urls": False,
    "strings_to_numbers": False,
    "remove_timezone": True,
    "nan_inf_to_errors": True,
}


def write_workbook(batches: Iterable[pa.RecordBatch], columns: Sequence[Column], stream: BinaryIO) -> int:
    """Write batches of rows, at most MAX_ROWS, to a workbook with one sheet; return the number of rows.

    Times are in UTC, durations in Excel's format of hours. A longer text than MAX_TEXT is cut.
    """
    workbook = xlsxwriter.Workbook(stream, OPTIONS)
    sheet = workbook.add_worksheet()
    heading = workbook.add_format({"bold": True})
    formats = [workbook.add_format({"num_format": _number_format(column)}) for column in columns]
    for place, column in enumerate(columns):
        sheet.set_column(place, place, max(_width(column), len(column.name) + 2))
        sheet.write_string(0, place, column.name, heading)
    sheet.freeze_panes(1, 0)
    rows = 0
    for batch in batches:
        for values in zip(*(part.to_pylist() for part in batch.columns), strict=True):
            rows += 1
            for place, value in enumerate(values):
                if value is not None:
                    is_duration = columns[place].type == "interval"
                    _write_cell(sheet, (rows, place), value / DAY_SECONDS if is_duration else value, formats[place])
    sheet.autofilter(0, 0, rows, len(columns) - 1)
    workbook.close()
    return rows


def _number_format(column: Column) -> str:
    if column.name.endswith("_rate") or column.name == "share":
        return RATE
    return FORMATS.get(column.type, ("General", 0))[0]


def _width(column: Column) -> int:
    return FORMATS.get(column.type, ("", TEXT_WIDTH if column.type == "text" else NUMBER_WIDTH))[1]


def _write_cell(sheet: Worksheet, place: tuple[int, int], value: Any, how: Format) -> None:
    if isinstance(value, str):
        sheet.write_string(*place, value if len(value) <= MAX_TEXT else f"{value[: MAX_TEXT - 1]}…")
    elif isinstance(value, bool):
        sheet.write_boolean(*place, value)
    elif not isinstance(value, date):
        sheet.write_number(*place, value, how)
    elif (value.date() if isinstance(value, datetime) else value) >= FIRST_DAY:
        sheet.write_datetime(*place, value, how)
    else:
        sheet.write_string(*place, value.isoformat())
