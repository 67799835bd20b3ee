"""Notify people through a webhook of failures, recoveries and new columns, each once.

An incident begins with the first failed load that is reported and ends with a successful load that is reported; failed
loads in between are not. A message counts as sent when the webhook has accepted it, and is recorded directly after
that. A crash between the two can repeat a message, but not lose it.

Incidents are stored in the ops schema. While the database is away they are stored in a file in the loader's home,
which every load that reaches the database updates. If neither can be written, every failed load is reported.
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

from loader.config import Settings, home, make_private
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
#: The columns that have been reported.
_ANNOUNCED = "select table_name, column_name from announced_columns"
_ANNOUNCE = "insert into announced_columns select * from unnest(%s::text[], %s::text[]) on conflict do nothing"
#: How many new columns a message names.
MAX_NAMED_COLUMNS = 20

Columns = Sequence[tuple[str, str, bool]]


@dataclass(frozen=True, slots=True)
class Incident:
    """An open incident: time and error of the first failure, and whether the database has recorded it."""

    began_at: datetime
    error: str
    is_recorded: bool

    def __str__(self) -> str:
        return f"{self.began_at:%Y-%m-%d %H:%M %Z}: {self.error}"


class Incidents:
    """Sends the notifications of one source. Failures to send or to record them are logged, not raised."""

    def __init__(self, settings: Settings, url: str, send: Callable[[str, str], bool] = post) -> None:
        self._settings = settings
        self._url = url
        self._send = send
        self._file = IncidentFile(settings)

    def begin(self) -> None:
        """Report loads that were killed. If no column has been recorded as reported yet, record all existing ones."""
        self._record(self._begin)

    def fail(self, error: str) -> None:
        """Report a failure, unless an incident is open."""
        self._record(lambda warehouse: self._fail(warehouse, error))

    def recover(self) -> None:
        """Report the end of the open incident, if there is one."""
        self._record(self._recover)

    def report_columns(self) -> None:
        """Report tables and columns that have been added since the last report."""
        self._record(self._report_columns)

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
            self._file.write(known)  # in case the transaction fails
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

    def _report_columns(self, warehouse: Warehouse | None) -> Incident | None:
        columns = self._new_columns(warehouse) if warehouse else []
        if warehouse and columns and self._post(describe(columns)):
            self._announce(warehouse, columns)
        return self._known(warehouse)

    def _record(self, report: Callable[[Warehouse | None], Incident | None]) -> None:
        """Run a report in a transaction, and then save the open incident that it returns in the file."""
        try:
            with self._locked_warehouse() as warehouse:
                known = report(warehouse)
        except LoaderError as exc:
            log.warning("a notification could not be recorded in the database: %s", exc)
            return
        if known != self._file.read():
            self._file.write(known)

    @contextmanager
    def _locked_warehouse(self) -> Iterator[Warehouse | None]:
        """Yield the database in a transaction that holds the incident lock, or None if it is away or not prepared."""
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
        """Return the open incident from the database, else from the file.

        An incident in the file that was recorded, but is not open in the database, has ended.
        """
        kept = self._file.read()
        if not warehouse:
            return kept
        for began_at, error in warehouse.fetch(_OPEN):
            return Incident(began_at, error, is_recorded=True)
        return kept if kept and not kept.is_recorded else None

    def _post(self, what: str) -> bool:
        return self._send(self._url, describe_place(self._settings, what))

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


def describe_place(settings: Settings, what: str) -> str:
    """Return a message with the source and the machine it comes from."""
    return f"selligent-loader, schema {settings.schema}, {socket.gethostname()}: {what}"


class IncidentFile:
    """The open incident of a source, in a file on the machine that the loader runs on."""

    def __init__(self, settings: Settings) -> None:
        place = re.sub(r"//[^/@]*@|password\s*=\s*('[^']*'|\S*)", "//", settings.database_url or "")
        name = hashlib.sha256(f"{place} {settings.schema}".encode()).hexdigest()[:16]
        self._path = home() / "incidents" / f"{name}.json"

    def read(self) -> Incident | None:
        """Return the incident; None if there is none or the file cannot be read."""
        try:
            stored: dict[str, Any] = json.loads(self._path.read_text("utf-8"))
            return Incident(datetime.fromisoformat(stored["began_at"]), stored["error"], stored["is_recorded"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, incident: Incident | None) -> None:
        """Replace the incident, or remove it for None. A failure is logged."""
        try:
            if incident is None:
                self._path.unlink(missing_ok=True)
                return
            make_private(self._path.parent)
            stored = {"began_at": incident.began_at.isoformat(), "error": incident.error}
            replace_file(self._path, json.dumps(stored | {"is_recorded": incident.is_recorded}).encode())
        except OSError as exc:
            log.warning(
                "incidents cannot be saved in %s: %s; set SELLIGENT_HOME to a writable folder",
                self._path.parent,
                exc.strerror,
            )


def describe(columns: Columns) -> str:
    """Return a message about new columns, and new tables with the number of their columns.

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
