"""Options that many commands have."""

import logging
from collections.abc import Callable
from datetime import datetime
from functools import wraps
from typing import Any

import click

from loader.archive import Days
from loader.config import settings
from loader.dialect import Dialect

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


def input_options(command: Command) -> Command:
    """Give a command what is to be known of its files: `days`, `table`."""
    day = click.DateTime(["%Y-%m-%d"])

    @click.option("--from", "first", metavar="DATE", type=day, help="First received day, of Segment's archive.")
    @click.option("--to", "last", metavar="DATE", type=day, help="Last received day, of Segment's archive.")
    @click.option("--delimiter", metavar="CHARACTER", help="Between the cells of CSV files; else it is found out.")
    @click.option("--encoding", metavar="NAME", help="Of CSV files; else UTF-8, UTF-16 or Windows-1252 is found out.")
    @wraps(command)
    def run(
        *arguments: Any,
        first: datetime | None,
        last: datetime | None,
        delimiter: str | None,
        encoding: str | None,
        **others: Any,
    ) -> Any:
        days = Days(first and first.date(), last and last.date())
        return command(*arguments, days=days, table=Dialect(delimiter, encoding), **others)

    return run


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
