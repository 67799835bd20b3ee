"""Options and parameter types that several commands share."""

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import TYPE_CHECKING, Any, ClassVar

import click

from loader import logs
from loader.config import settings
from loader.events.times import DEFAULT_TIMES
from loader.schema.limits import MAX_COLUMNS, MAX_TABLES

if TYPE_CHECKING:
    from loader.pipeline.options import Percentage

Command = Callable[..., Any]


class OptionsUnderHeadings(click.Command):
    """A command with many options, whose help has them under headings.

    `headings` has the options' names, separated by blanks. Options that are not named come last.
    """

    def __init__(self, *arguments: Any, headings: Mapping[str, str], **others: Any) -> None:
        super().__init__(*arguments, **others)
        self.headings = headings

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one section per heading."""
        records = {
            option.opts[0]: record
            for option in self.get_params(ctx)
            if isinstance(option, click.Option) and (record := option.get_help_record(ctx))
        }
        for heading, names in self.headings.items():
            with formatter.section(heading):
                formatter.write_dl([records.pop(name) for name in names.split()])
        with formatter.section("Options"):
            formatter.write_dl(list(records.values()))


class GroupThatLists(click.Group):
    """A group of commands that without one runs its command `list`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Insert `list` where no command and no request for help is given."""
        is_named = bool(args) and (not args[0].startswith("-") or args[0] in ctx.help_option_names)
        if not is_named and not ctx.resilient_parsing:  # which completion does
            args = ["list", *args]
        return super().parse_args(ctx, args)


def connection_options(command: Command) -> Command:
    """Add the connection options to a command, which receives them as `settings`."""

    @click.option("--database-url", metavar="URL", help="Database URL; default SELLIGENT_DATABASE_URL or DATABASE_URL.")
    @click.option("--schema", metavar="NAME", help="Schema of the source; default SELLIGENT_SCHEMA or selligent.")
    @click.option("--verbose", is_flag=True, help="Log more to standard error.")
    @click.option(
        "--log-format", type=click.Choice(logs.FORMATS), default="text", help="Format of the log on standard error."
    )
    @wraps(command)
    def run(
        *arguments: Any, database_url: str | None, schema: str | None, verbose: bool, log_format: str, **others: Any
    ) -> Any:
        logs.configure(logs.Style(log_format, verbose))
        return command(*arguments, settings=settings(database_url, schema), **others)

    return run


class Duration(click.ParamType[timedelta]):
    """A duration such as `26h`."""

    name = "duration"
    units: ClassVar = {"s": "seconds", "m": "minutes", "min": "minutes", "h": "hours", "d": "days", "w": "weeks"}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Parse a number with a unit."""
        found = re.fullmatch("([0-9]{1,6})([a-z]+)", str(value))
        if not found or found[2] not in self.units:
            raise click.BadParameter(f"{value!r} is not a duration; write 90s, 10min, 26h, 30d or 2w", ctx, param)
        return timedelta(**{self.units[found[2]]: int(found[1])})


class Allowance(click.ParamType["int | Percentage"]):
    """A number, or a percentage."""

    name = "number|percentage"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> "int | Percentage":
        """Parse `20` or `0.5%`."""
        from loader.pipeline.options import Percentage

        text = str(value)
        if text.isascii() and text.isdecimal():
            return int(text)
        if re.fullmatch(r"[0-9]+([.][0-9]+)?%", text) and float(text[:-1]) <= 100:
            return Percentage(float(text[:-1]))
        raise click.BadParameter(f"{text!r} is neither a number nor a percentage; write 20 or 0.5%", ctx, param)


class Moment(click.ParamType[datetime]):
    """A point in time, as an age or in ISO 8601."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Parse an age such as `90d`, or ISO 8601, in UTC if it has no offset."""
        with suppress(click.BadParameter, OverflowError):
            return datetime.now(UTC) - Duration().convert(value, param, ctx)
        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError:
            raise click.BadParameter(f"{value!r} is not a time; write 90d, 12h or 2025-03-01", ctx, param) from None
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def schema_limit_options(command: Command) -> Command:
    """Add the limits for tables and columns to a command; without them, senders could create any number."""
    columns = click.option(
        "--max-columns",
        default=MAX_COLUMNS,
        show_default=True,
        type=click.IntRange(1, 1600),
        help="Maximum columns of a table; values of further properties wait until this is raised.",
    )
    tables = click.option(
        "--max-tables",
        default=MAX_TABLES,
        show_default=True,
        type=click.IntRange(1),
        help="Maximum event tables; events of further ones are rejected and can be replayed.",
    )
    return columns(tables(command))


def input_options(command: Command) -> Command:
    """Add the options for input files to a command, which receives them as `days` and `table`."""
    day = click.DateTime(["%Y-%m-%d"])

    @click.option(
        "--from",
        "first",
        metavar="DATE",
        type=day,
        help="First day on which events were received, for Segment's archive.",
    )
    @click.option(
        "--to", "last", metavar="DATE", type=day, help="Last day on which events were received, for Segment's archive."
    )
    @click.option("--delimiter", metavar="CHARACTER", help="Delimiter of CSV files; detected by default.")
    @click.option(
        "--encoding",
        metavar="NAME",
        help="Encoding of CSV files; by default UTF-8, UTF-16 or Windows-1252 is detected.",
    )
    @wraps(command)
    def run(
        *arguments: Any,
        first: datetime | None,
        last: datetime | None,
        delimiter: str | None,
        encoding: str | None,
        **others: Any,
    ) -> Any:
        from loader.inputs.csv import CsvDialect
        from loader.inputs.discovery import Days

        days = Days(first and first.date(), last and last.date())
        return command(*arguments, days=days, table=CsvDialect(delimiter, encoding), **others)

    return run


def time_options(command: Command) -> Command:
    """Add the options for the times in events to a command."""
    time_format = click.option(
        "--time-format",
        metavar="FORMAT",
        help="Format of times to try first, as of strptime, such as '%d/%m/%Y %H:%M'; standard ones are known.",
    )
    time_zone = click.option(
        "--time-zone",
        metavar="NAME",
        default=DEFAULT_TIMES.zone,
        show_default=True,
        help="Zone of times without one, such as Europe/Paris.",
    )
    return time_format(time_zone(command))


class Size(click.ParamType[int]):
    """A size in bytes, written as a number and a unit."""

    name = "size"
    units: ClassVar = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Parse a number with a unit, and return bytes."""
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(\d+(?:[.]\d+)?) ?([A-Z]+)", str(value))
        if not found or found[2] not in self.units:
            self.fail(f"{value!r} is not a size; write 500MB or 10GB", param, ctx)
        return int(float(found[1]) * self.units[found[2]])


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
