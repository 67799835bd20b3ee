"""Options that many commands have."""

import logging
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Any, ClassVar

import click

from loader.catalog import MAX_COLUMNS, MAX_TABLES
from loader.config import settings
from loader.result import Percentage

Command = Callable[..., Any]


def connected(command: Command) -> Command:
    """Give a command the settings that flags and environment mean."""

    @click.option("--database-url", metavar="URL", help="Database; else SELLIGENT_DATABASE_URL, DATABASE_URL.")
    @click.option("--schema", metavar="NAME", help="Schema of the source; else SELLIGENT_SCHEMA, selligent.")
    @click.option("--verbose", is_flag=True, help="Say more on standard error.")
    @wraps(command)
    def run(*arguments: Any, database_url: str | None, schema: str | None, verbose: bool, **others: Any) -> Any:
        logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format="%(asctime)s %(message)s")
        return command(*arguments, settings=settings(database_url, schema), **others)

    return run


class Duration(click.ParamType[float]):
    """Seconds, written as a number and a unit."""

    name = "duration"
    units: ClassVar = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return seconds."""
        if isinstance(value, float):
            return value
        found = re.fullmatch(r"(\d+(?:[.]\d+)?) ?([a-z]+)", str(value))
        if not found or found[2] not in self.units:
            self.fail(f"{value!r} is no duration; write 90s, 10min, 26h or 30d", param, ctx)
        return float(found[1]) * self.units[found[2]]


class Allowance(click.ParamType[int | Percentage]):
    """A number, or a share in per cent."""

    name = "number|percentage"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | Percentage:
        """Return what a text says: `20` or `0.5%`."""
        text = str(value)
        if text.isascii() and text.isdecimal():
            return int(text)
        if re.fullmatch(r"[0-9]+([.][0-9]+)?%", text) and float(text[:-1]) <= 100:
            return Percentage(float(text[:-1]))
        raise click.BadParameter(f"{text!r} is neither a number nor a percentage; write 20 or 0.5%", ctx, param)


class Moment(click.ParamType[datetime]):
    """A time, as an age or as ISO 8601 has it."""

    name = "time"
    units: ClassVar = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return what a text says: `90d` ago, or `2025-03-01`; without an offset it is UTC."""
        try:
            if age := re.fullmatch("([0-9]{1,6})([mhdw])", str(value)):
                return datetime.now(UTC) - timedelta(**{self.units[age[2]]: int(age[1])})
            moment = datetime.fromisoformat(str(value))
        except (ValueError, OverflowError):
            raise click.BadParameter(f"{value!r} is no time; write 90d, 12h or 2025-03-01", ctx, param) from None
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def caps_options(command: Command) -> Command:
    """Give a command the options that bound what senders can make by inventing names."""
    columns = click.option(
        "--max-columns",
        default=MAX_COLUMNS,
        show_default=True,
        type=click.IntRange(1, 1600),
        help="Columns of a table; what has none waits until this is raised.",
    )
    tables = click.option(
        "--max-tables",
        default=MAX_TABLES,
        show_default=True,
        type=click.IntRange(1),
        help="Tables of events; others' events are rejects to replay.",
    )
    return columns(tables(command))


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
