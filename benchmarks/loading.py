"""The loader itself: loads of a file, and the limit, which is copying the same rows, encoded beforehand."""

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psycopg

from loader.config import Settings
from loader.inputs.file import File
from loader.inputs.formats import open_file
from loader.inputs.json_lines import read_chunks
from loader.migrate import migrate
from loader.pipeline.options import Options
from loader.pipeline.writer import Encoded, encode_batch
from loader.postgres.connection import Warehouse
from loader.schema.catalog import Catalog
from loader.schema.event_tables import TRACKS
from loader.schema.limits import SchemaLimits
from loader.transform.batch import Batch
from loader.transform.transform import Transform
from tests.support.loading import load


@dataclass(frozen=True, slots=True)
class Measured:
    """What one run took: events, seconds, bytes of write-ahead log."""

    events: int
    seconds: float
    wal: int

    @property
    def rate(self) -> float:
        """Events a second."""
        return self.events / self.seconds


def execute(settings: Settings, statement: str) -> int:
    """Run a statement; return the first number it gives, if any."""
    with psycopg.connect(settings.database_url or "", autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        row = cursor.fetchone() if cursor.description else None
        return int(row[0]) if row else 0


def drop(settings: Settings) -> None:
    """Drop all tables, if there are any."""
    execute(settings, f"drop schema if exists {settings.schema}, {settings.ops} cascade")


def empty(settings: Settings) -> None:
    """Make empty tables, and have the server write what it owes the disk."""
    drop(settings)
    migrate(settings)
    execute(settings, "checkpoint")


def measure(settings: Settings, run: Callable[[], int]) -> Measured:
    """Measure a function that returns the number of its events."""
    position = "select pg_current_wal_insert_lsn() - '0/0'::pg_lsn"
    before, started = execute(settings, position), time.perf_counter()
    events = run()
    return Measured(events, time.perf_counter() - started, execute(settings, position) - before)


def load_file(settings: Settings, path: Path, *, again: bool = False) -> Measured:
    """Load a file in one process."""

    def run() -> int:
        result = load(settings, [str(path)], Options(again=again))
        if result.status not in {"ok", "empty"}:
            raise RuntimeError(f"the load is {result.status}: {result.errors}")
        return result.counts["events_read"]

    return measure(settings, run)


def prepare_rows(settings: Settings, path: Path) -> list[Encoded]:
    """Return the new rows of a file, encoded; the tables and columns they need are made."""
    seen: set[tuple[object, str]] = set()
    with closing(Warehouse(settings)) as warehouse:
        transform = Transform(Catalog(warehouse, SchemaLimits()))
        with open_file(File(str(path))) as (stream, _):
            return [
                encode_batch(_unseen(batch, seen))
                for chunk in read_chunks(stream)
                for batch in transform.finish(transform.prepare(chunk))
            ]


def _unseen(batch: Batch, seen: set[tuple[object, str]]) -> Batch:
    tracks = batch.parts[TRACKS]
    keys = list(zip(tracks.rows["original_timestamp"].to_pylist(), tracks.rows["id"].to_pylist(), strict=True))
    known = [n for n, key in zip(tracks.numbers.to_pylist(), keys, strict=True) if key in seen]
    seen.update(keys)
    return batch.without(known)


def copy_rows(settings: Settings, prepared: list[Encoded], events: int) -> Measured:
    """Copy rows in one transaction a chunk, and do nothing else."""

    def run() -> int:
        with closing(Warehouse(settings)) as warehouse:
            for made in prepared:
                with warehouse.transaction():
                    for table, part in made.batch.parts.items():
                        warehouse.copy(settings.schema, table, part.rows.column_names, made.rows[table])
        return events

    return measure(settings, run)


def truncate(settings: Settings) -> None:
    """Empty the tables of events, run-time ones included, and keep their columns."""
    with closing(Warehouse(settings)) as warehouse, warehouse.transaction():
        query = "select string_agg(format('%I.%I', schemaname, tablename), ', ') from pg_tables where schemaname = %s"
        ((tables,),) = warehouse.fetch(query.replace("%I", "%%I"), settings.schema)
        warehouse.fetch(f"truncate {tables}")
    execute(settings, "checkpoint")
