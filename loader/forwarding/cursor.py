"""How far the events of a spool are forwarded to an integration: stored beside the spool, and in the database.

The smaller of the two counts. A copy that was restored from a backup, of the spool or of the database, therefore only
repeats events; the target finds repeats by their ids.

    SPOOL/<schema>/.forward/id             identity of the spool
    SPOOL/<schema>/.forward/lock           locked by the forwarder
    SPOOL/<schema>/.forward/<id>.json      progress of an integration
"""

import json
import secrets
import socket
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from loader.config import private
from loader.postgres.connection import Warehouse
from loader.spool.reader import Position
from loader.spool.segments import replace_file, sync

FOLDER = ".forward"

_COLUMNS = (
    *("segment", "position", "is_complete", "events_delivered", "events_undelivered", "events_skipped", "failures"),
    *("events_per_second", "lag_events", "lag_seconds", "waiting_bytes", "failing_since", "error", "alerted_at"),
    "delivered_at",
)
_VALUES = ", ".join("%s::jsonb" if name == "failures" else "%s" for name in _COLUMNS)
_READ = f"select {', '.join(_COLUMNS)} from forwarding where (integration_id, spool) = (%s, %s)"
#: An integration that has been removed in the meantime has no row to refer to.
_WRITE = f"""
    insert into forwarding (integration_id, spool, host, folder, {", ".join(_COLUMNS)}, updated_at)
    select integration_id, %s, %s, %s, {_VALUES}, now()
    from integrations where integration_id = %s
    on conflict (integration_id, spool) do update set
        host = excluded.host, folder = excluded.folder, updated_at = excluded.updated_at,
        {", ".join(f"{name} = excluded.{name}" for name in _COLUMNS)}
"""
#: A spool that was made again in the same folder has another identity.
_REMOVE_FORMER = "delete from forwarding where (integration_id, host, folder) = (%s, %s, %s) and spool <> %s"


@dataclass(slots=True)
class Progress:
    """Position, counts and state of an integration in a spool."""

    position: Position = field(default_factory=Position)
    events_delivered: int = 0
    events_undelivered: int = 0
    events_skipped: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    events_per_second: float = 0.0
    lag_events: int | None = None
    lag_seconds: float | None = None
    waiting_bytes: int = 0
    failing_since: datetime | None = None
    error: str | None = None
    alerted_at: datetime | None = None
    delivered_at: datetime | None = None

    def count_failure(self, reason: str, count: int = 1) -> None:
        """Count failures by their reason."""
        self.failures[reason] = self.failures.get(reason, 0) + count


@dataclass(frozen=True, slots=True)
class NamedProgress:
    """The progress of an integration of a source, and when it was stored."""

    schema: str
    name: str
    progress: Progress
    written_at: datetime

    def lag_seconds(self, now: float) -> float | None:
        """Return the age of the oldest event that waits, at a time in seconds since 1970."""
        lag = self.progress.lag_seconds
        return lag + max(now - self.written_at.timestamp(), 0.0) if lag else lag


class Cursor:
    """The stored progress of one integration in one spool."""

    def __init__(self, place: Path, integration_id: str, name: str) -> None:
        """`place` is the folder of the source in the spool, `name` that of the integration."""
        self._name, self._folder, self._host = name, str(place.resolve()), socket.gethostname()
        self._file = progress_file(place, integration_id)
        self._spool, self._integration_id = spool_id(place), integration_id

    def read(self, warehouse: Warehouse) -> Progress | None:
        """Return the stored progress, with the smaller position of both; None if there is none."""
        with warehouse.transaction():
            rows = warehouse.fetch(_READ, self._integration_id, self._spool)
        stored = _from_row(rows[0]) if rows else None
        kept = read_progress(self._file)
        if stored is None or kept is None:
            return stored or kept
        kept.position = min(kept.position, stored.position)
        return kept

    def write(self, progress: Progress, *, is_synced: bool = True) -> None:
        """Store progress beside the spool. Without `is_synced` it survives a crash of the process, not of the machine.

        Raises OSError if that fails.
        """
        stored = {"name": self._name, **asdict(progress), "written_at": datetime.now(UTC)}
        content = json.dumps(stored, default=datetime.isoformat).encode()
        if is_synced:
            replace_file(self._file, content)
            return
        part = self._file.with_suffix(".part")
        with open(part, "wb", opener=private) as file:
            file.write(content)
        part.rename(self._file)

    def record(self, warehouse: Warehouse, progress: Progress) -> None:
        """Store progress in the database, instead of that of a former spool in the same folder."""
        values = _to_row(progress)
        with warehouse.transaction():
            warehouse.fetch(_WRITE, self._spool, self._host, self._folder, *values, self._integration_id)
            warehouse.fetch(_REMOVE_FORMER, self._integration_id, self._host, self._folder, self._spool)


def progress_file(place: Path, integration_id: str) -> Path:
    """Return the file with the progress of an integration."""
    return place / FOLDER / f"{integration_id}.json"


def spool_id(place: Path) -> str:
    """Return the identity of a spool, which is made at the first call: a new folder in the same place is another spool.

    Raises OSError if it cannot be stored.
    """
    path = place / FOLDER / "id"
    with suppress(FileNotFoundError):
        return path.read_text("ascii").strip()
    path.parent.mkdir(mode=0o700, exist_ok=True)
    replace_file(path, secrets.token_hex(8).encode())
    sync(place)
    return path.read_text("ascii").strip()


def read_progress(path: Path) -> Progress | None:
    """Return the progress in a file; None if it is missing or cannot be read, as after a crash of the machine."""
    found = read_named_progress("", path)
    return found.progress if found else None


def read_named_progress(schema: str, path: Path) -> NamedProgress | None:
    """Return the same, with the names of the integration and of its source, and the time."""
    try:
        stored: dict[str, Any] = json.loads(path.read_bytes())
        stored["position"] = Position(**stored["position"])
        for name in ("failing_since", "alerted_at", "delivered_at"):
            stored[name] = datetime.fromisoformat(stored[name]) if stored[name] else None
        progress = Progress(**{item.name: stored[item.name] for item in fields(Progress)})
        return NamedProgress(schema, stored["name"], progress, datetime.fromisoformat(stored["written_at"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def read_all_progress(places: Sequence[tuple[str, Path]]) -> list[NamedProgress]:
    """Return the progress of all integrations in a spool, from its logs: the schema of the source, and the folder."""
    paths = [(schema, path) for schema, place in places for path in sorted((place / FOLDER).glob("*.json"))]
    return [found for schema, path in paths if (found := read_named_progress(schema, path))]


def remove_others(place: Path, integration_ids: Collection[str]) -> None:
    """Remove the progress of integrations that do not exist any more."""
    for path in (place / FOLDER).glob("*.json"):
        if path.stem not in integration_ids:
            path.unlink(missing_ok=True)


def _from_row(row: tuple[Any, ...]) -> Progress:
    values: Mapping[str, Any] = dict(zip(_COLUMNS, row, strict=True))
    position = Position(values["segment"], values["position"], values["is_complete"])
    return Progress(position, **{name: values[name] for name in _COLUMNS[3:]})


def _to_row(progress: Progress) -> list[Any]:
    position = progress.position
    others = [getattr(progress, name) for name in _COLUMNS[3:]]
    others[_COLUMNS.index("failures") - 3] = json.dumps(progress.failures)
    return [position.segment, position.offset, position.is_complete, *others]
