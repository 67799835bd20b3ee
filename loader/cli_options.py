"""Options that many commands have."""

import logging
import re
from collections.abc import Callable
from functools import wraps
from typing import Any, ClassVar

import click

from loader.config import settings

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


class Size(click.ParamType[int]):
    """Bytes, written as a number and a unit."""

    name = "size"
    units: ClassVar = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return bytes."""
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(\d+(?:[.]\d+)?) ?([A-Z]+)", str(value))
        if not found or found[2] not in self.units:
            self.fail(f"{value!r} is no size; write 500MB or 10GB", param, ctx)
        return int(float(found[1]) * self.units[found[2]])


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
