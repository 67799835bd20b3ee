"""Incidents: which failures and changes people were told of, so that each is told once.

An incident is open from a first failing load, of which the webhook was told, to a load that ends well, of which it was
told too; loads that fail in between are not told. A message counts as told once the webhook has taken it, and what was
told is committed right after it: a crash between the two has it told twice, never not at all.

The ledger knows the incidents. Where the database is away they are in a file of the loader's home, which every load
that reaches the database brings in line; where neither can be written, each failing load is told.
"""

import hashlib
import json
import logging
import re
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from loader.config import Settings, home
from loader.errors import LoaderError
from loader.monitoring.webhook import post
from loader.pipeline.ledger import read_running_loads
from loader.postgres import advisory_locks
from loader.postgres.connection import Warehouse
from loader.schema.introspection import read_event_columns
from loader.spool.segments import replace_file

log = logging.getLogger(__name__)

_OPEN = "select began_at, error from incidents where ended_at is null"
_BEGIN = "insert into incidents (began_at, error) values (%s, %s)"
_END = "update incidents set ended_at = now() where ended_at is null"
#: The columns that people were told of.
_ANNOUNCED = "select table_name, column_name from announced_columns"
_ANNOUNCE = "insert into announced_columns select * from unnest(%s::text[], %s::text[]) on conflict do nothing"
#: How many new columns a message names.
MAX_NAMED_COLUMNS = 20

Columns = Sequence[tuple[str, str, bool]]


@dataclass(frozen=True, slots=True)
class Incident:
    """A first failure; `is_recorded` says whether the ledger has it."""

    began_at: datetime
    error: str
    is_recorded: bool

    def __str__(self) -> str:
        return f"{self.began_at:%Y-%m-%d %H:%M %Z}: {self.error}"


class Incidents:
    """What is told of one source's loads to a webhook; telling never raises."""

    def __init__(self, settings: Settings, url: str, tell: Callable[[str, str], bool] = post) -> None:
        self._settings = settings
        self._url = url
        self._tell = tell
        self._file = IncidentFile(settings)

    def begin(self) -> None:
        """Take what columns there are as known, if nobody was told of any; tell of loads that were killed."""
        self._remember(self._begin)

    def fail(self, error: str) -> None:
        """Tell of a failure, unless an incident is open."""
        self._remember(lambda warehouse: self._fail(warehouse, error))

    def recover(self) -> None:
        """Tell that an incident is over."""
        self._remember(self._recover)

    def change(self) -> None:
        """Tell of tables and columns that are new since people were last told."""
        self._remember(self._change)

    def _begin(self, warehouse: Warehouse | None) -> Incident | None:
        known = self._known(warehouse)
        if warehouse:
            if not warehouse.fetch("select 1 from announced_columns limit 1"):
                self._announce(warehouse, self._new_columns(warehouse))
            for load in read_running_loads(warehouse):
                if not load["is_alive"]:
                    what = f"load {load['load_id']} of {load['started_at']:%Y-%m-%d %H:%M %Z} on {load['host']}"
                    known = self._fail(warehouse, f"{what} was killed")
        return known

    def _fail(self, warehouse: Warehouse | None, error: str) -> Incident | None:
        known = self._known(warehouse)
        if not known and self._post(f"failed: {error}"):
            known = Incident(datetime.now(UTC), error, is_recorded=False)
            self._file.write(known)  # should the ledger's transaction fail
        if warehouse and known and not known.is_recorded:
            warehouse.fetch(_BEGIN, known.began_at, known.error)
            known = replace(known, is_recorded=True)
        return known

    def _recover(self, warehouse: Warehouse | None) -> Incident | None:
        known = self._known(warehouse)
        if not (warehouse and known and self._post(f"loads again; it had failed since {known}")):
            return known
        if not known.is_recorded:
            warehouse.fetch(_BEGIN, known.began_at, known.error)
        warehouse.fetch(_END)
        return None

    def _change(self, warehouse: Warehouse | None) -> Incident | None:
        columns = self._new_columns(warehouse) if warehouse else []
        if warehouse and columns and self._post(describe(columns)):
            self._announce(warehouse, columns)
        return self._known(warehouse)

    def _remember(self, told: Callable[[Warehouse | None], Incident | None]) -> None:
        """Let a body tell what it has to in a transaction of the ledger's, then put in the file what is open."""
        try:
            with self._ledger() as warehouse:
                known = told(warehouse)
        except LoaderError as exc:
            log.warning("what was told of incidents is not in the ledger: %s", exc)
            return
        if known != self._file.read():
            self._file.write(known)

    @contextmanager
    def _ledger(self) -> Iterator[Warehouse | None]:
        """Give the body the ledger in a transaction in which nobody else tells anything, or None if it is away."""
        try:
            warehouse = Warehouse(self._settings)
        except (LoaderError, OSError):
            yield None
            return
        with closing(warehouse), warehouse.transaction():
            warehouse.lock_in_transaction(advisory_locks.INCIDENT)
            ((is_prepared,),) = warehouse.fetch("select to_regclass('incidents') is not null")
            yield warehouse if is_prepared else None

    def _known(self, warehouse: Warehouse | None) -> Incident | None:
        """Return the open incident: the ledger's, else that of the file unless the ledger had it and it ended there."""
        kept = self._file.read()
        if not warehouse:
            return kept
        for began_at, error in warehouse.fetch(_OPEN):
            return Incident(began_at, error, is_recorded=True)
        return kept if kept and not kept.is_recorded else None

    def _post(self, what: str) -> bool:
        return self._tell(
            self._url, f"selligent-loader, schema {self._settings.schema}, {socket.gethostname()}: {what}"
        )

    def _new_columns(self, warehouse: Warehouse) -> Columns:
        announced = set(warehouse.fetch(_ANNOUNCED))
        known = {table for table, _ in announced}
        return [
            (table, column, table not in known)
            for table, columns in read_event_columns(warehouse).items()
            for column in columns
            if (table, column) not in announced
        ]

    def _announce(self, warehouse: Warehouse, columns: Columns) -> None:
        warehouse.fetch(_ANNOUNCE, [table for table, _, _ in columns], [column for _, column, _ in columns])


class IncidentFile:
    """The open incident, as the machine knows it that the loader runs on."""

    def __init__(self, settings: Settings) -> None:
        place = re.sub(r"//[^/@]*@|password\s*=\s*('[^']*'|\S*)", "//", settings.database_url or "")
        name = hashlib.sha256(f"{place} {settings.schema}".encode()).hexdigest()[:16]
        self._path = home() / "incidents" / f"{name}.json"

    def read(self) -> Incident | None:
        """Return it, None if there is none or it cannot be read."""
        try:
            told: dict[str, Any] = json.loads(self._path.read_text("utf-8"))
            return Incident(datetime.fromisoformat(told["began_at"]), told["error"], told["is_recorded"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, incident: Incident | None) -> None:
        """Replace it; that this is not possible is told in the log."""
        try:
            if incident is None:
                self._path.unlink(missing_ok=True)
                return
            self._path.parent.mkdir(parents=True, exist_ok=True)
            told = {"began_at": incident.began_at.isoformat(), "error": incident.error}
            replace_file(self._path, json.dumps(told | {"is_recorded": incident.is_recorded}).encode())
        except OSError as exc:
            log.warning("incidents cannot be kept in %s: %s; set SELLIGENT_HOME", self._path.parent, exc.strerror)


def describe(columns: Columns) -> str:
    """Return new columns, and new tables as wholes, in words.

    >>> describe([("orders", "id", True), ("orders", "total", True), ("email_opened", "score", False)])
    'new table orders (2 columns); new column email_opened.score'
    """
    parts, names = [], []
    for (table, is_new), group in groupby(columns, lambda column: (column[0], column[2])):
        found = [name for _, name, _ in group]
        if is_new:
            parts.append(f"new table {table} ({len(found)} columns)")
        else:
            names += [f"{table}.{name}" for name in found]
    more = f" and {len(names) - MAX_NAMED_COLUMNS:,} more" if len(names) > MAX_NAMED_COLUMNS else ""
    if names:
        parts.append(f"new column{'s' * (len(names) > 1)} {', '.join(names[:MAX_NAMED_COLUMNS])}{more}")
    return "; ".join(parts)
