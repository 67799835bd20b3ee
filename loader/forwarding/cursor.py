"""How far the events of a spool are forwarded to an integration: stored beside the spool, and in the database.

The smaller of the two counts. A copy that was restored from a backup, of the spool or of the database, therefore only
repeats events; the target finds repeats by their ids.

    SPOOL/<schema>/.forward/id             identity of the spool
    SPOOL/<schema>/.forward/lock           locked by the forwarder
    SPOOL/<schema>/.forward/<id>.json      progress of an integration
"""

import json
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from loader.postgres.connection import Warehouse
from loader.spool.segments import replace_file, sync

FOLDER = ".forward"

_COLUMNS = (
    *("segment", "position", "is_complete", "events_delivered", "events_undelivered", "events_skipped", "failures"),
    *("events_per_second", "lag_events", "lag_seconds", "waiting_bytes", "failing_since", "error", "alerted_at"),
    "delivered_at",
)
_READ = f"select {', '.join(_COLUMNS)} from forwarding where (integration_id, spool) = (%s, %s)"
#: An integration that has been removed in the meantime has no row to refer to.
_WRITE = f"""
    insert into forwarding (integration_id, spool, host, {", ".join(_COLUMNS)}, updated_at)
    select integration_id, %s, %s, {", ".join("%s::jsonb" if name == "failures" else "%s" for name in _COLUMNS)}, now()
    from integrations where integration_id = %s
    on conflict (integration_id, spool) do update set
        host = excluded.host, updated_at = excluded.updated_at,
        {", ".join(f"{name} = excluded.{name}" for name in _COLUMNS)}
"""


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in the log: the name of a segment without its suffix, and bytes of it after decompression.

    `is_complete` means that the segment is closed and ends there.
    """

    segment: str = ""
    offset: int = 0
    is_complete: bool = False


@dataclass(slots=True)
class Progress:
    """Position, counts and state of an integration in a spool."""

    position: Position = Position()
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


class Cursor:
    """The stored progress of one integration in one spool."""

    def __init__(self, place: Path, integration_id: str) -> None:
        """`place` is the folder of the source in the spool."""
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
        content = json.dumps({**asdict(progress), "written_at": datetime.now(UTC)}, default=datetime.isoformat).encode()
        if is_synced:
            replace_file(self._file, content)
            return
        part = self._file.with_suffix(".part")
        part.write_bytes(content)
        part.rename(self._file)

    def record(self, warehouse: Warehouse, host: str, progress: Progress) -> None:
        """Store progress in the database."""
        values = _to_row(progress)
        with warehouse.transaction():
            warehouse.fetch(_WRITE, self._spool, host, *values, self._integration_id)


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
    try:
        stored: dict[str, Any] = json.loads(path.read_bytes())
        stored["position"] = Position(**stored["position"])
        for name in ("failing_since", "alerted_at", "delivered_at"):
            stored[name] = datetime.fromisoformat(stored[name]) if stored.get(name) else None
        return Progress(**{item.name: stored[item.name] for item in fields(Progress)})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _from_row(row: tuple[Any, ...]) -> Progress:
    values: Mapping[str, Any] = dict(zip(_COLUMNS, row, strict=True))
    position = Position(values["segment"], values["position"], values["is_complete"])
    return Progress(position, **{name: values[name] for name in _COLUMNS[3:]})


def _to_row(progress: Progress) -> list[Any]:
    position = progress.position
    others = [getattr(progress, name) for name in _COLUMNS[3:]]
    others[_COLUMNS.index("failures") - 3] = json.dumps(progress.failures)
    return [position.segment, position.offset, position.is_complete, *others]
