"""The steps of a refresh: scripts, run in sessions that are set up for them."""

import logging
import re
import time
from dataclasses import dataclass

from loader.config import Settings, data_root
from loader.postgres.connection import Warehouse
from loader.quoting import quote_identifier

log = logging.getLogger(__name__)

#: A step that takes longer is logged with level INFO, in seconds.
LONG_SECONDS = 1.0
#: Of a refresh's transactions.
LOCK_TIMEOUT, STATEMENT_TIMEOUT = "1h", "6h"
#: The step that decides which chunks are taken.
NEW_CHUNKS = "01_new_chunks"
#: The name of a refreshing session begins so; the name of the step follows.
APPLICATION_NAME = "selligent-loader refresh"

#: Set-based work on much data. Connections are set up for key look-ups otherwise. With the usual cost of a random page,
#: a night's events would be joined by reading all that is stored.
_CONDITIONS = """
    set local temp_buffers to '64MB';
    set local search_path to {ops}, {schema}, pg_catalog;
    set local enable_hashjoin to on;
    set local enable_mergejoin to on;
    set local random_page_cost to 0.2;
    set local default_statistics_target to 10;
    set local work_mem to '256MB';
    set local maintenance_work_mem to '256MB';
    set local jit to off;
"""


@dataclass(frozen=True, slots=True)
class Step:
    """A script of the refresh: a file in `sql/refresh`, in whose order they run."""

    name: str
    script: str

    @property
    def stage(self) -> str:
        """The number that its name begins with. Steps of one stage may change what others of it have inserted."""
        return self.name.partition("_")[0]

    @property
    def tables(self) -> set[str]:
        """The stored tables that it inserts into."""
        return set(re.findall(r"insert into (stored_\w+)", self.script))

    @property
    def keyed_tables(self) -> set[str]:
        """Those of them whose keys it looks at while inserting."""
        return set(re.findall(r"insert into (stored_\w+)[^;]*\bon conflict\b", self.script))


def read_steps() -> list[Step]:
    """Return the steps of a refresh in their order."""
    paths = sorted((data_root() / "sql" / "refresh").glob("*.sql"))
    return [Step(path.stem, path.read_text("utf-8")) for path in paths]


def conditions(settings: Settings) -> str:
    """Return the statements that set up a transaction for a step."""
    return _CONDITIONS.format(ops=quote_identifier(settings.ops), schema=quote_identifier(settings.schema))


def run_step(warehouse: Warehouse, step: Step, script: str) -> None:
    """Run the script of a step in the refresh's transaction."""
    name_step(warehouse, step.name)
    started = time.monotonic()
    rows = warehouse.run(script)
    log_step(step.name, time.monotonic() - started, rows)


def name_step(warehouse: Warehouse, name: str) -> None:
    """Let `status` find the step by the name of the session."""
    warehouse.run(f"set application_name to '{APPLICATION_NAME} {name}'")


def log_step(name: str, seconds: float, rows: int) -> None:
    """Log how long a step took, in seconds, and how many rows it has written."""
    log_duration(name, seconds, f"{rows:,} rows")


def log_duration(name: str, seconds: float, result: str) -> None:
    """Log how long something took, in seconds, and its result; with level INFO if it took long."""
    log.log(logging.INFO if seconds > LONG_SECONDS else logging.DEBUG, "%s: %.1f s, %s", name, seconds, result)
