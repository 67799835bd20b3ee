"""Options that many commands have."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from loader import logs
from loader.config import settings

Command = Callable[..., Any]


def connected(command: Command) -> Command:
    """Give a command the settings that flags and environment mean."""

    @click.option("--database-url", metavar="URL", help="Database; else SELLIGENT_DATABASE_URL, DATABASE_URL.")
    @click.option("--schema", metavar="NAME", help="Schema of the source; else SELLIGENT_SCHEMA, selligent.")
    @click.option("--verbose", is_flag=True, help="Say more on standard error.")
    @click.option("--log-format", type=click.Choice(logs.FORMATS), default="text", help="What standard error is for.")
    @wraps(command)
    def run(
        *arguments: Any, database_url: str | None, schema: str | None, verbose: bool, log_format: str, **others: Any
    ) -> Any:
        logs.configure(logs.Style(log_format, verbose))
        return command(*arguments, settings=settings(database_url, schema), **others)

    return run


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
