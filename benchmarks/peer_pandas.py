"""Load EVENTS_FILE into SCHEMA with pandas' `to_sql`, over SQLAlchemy unless a third argument is `adbc` or `multi`."""

import sys
from pathlib import Path
from typing import Any

import orjson
import pandas as pd
import peers
import psycopg
from adbc_driver_postgresql import dbapi
from sqlalchemy import Connection, create_engine, make_url

#: Options of `to_sql`. Its default, `executemany`, is several times faster with psycopg 3 than `multi`.
OPTIONS = {"multi": {"method": "multi", "chunksize": 200}}


def load(events: Path, schema: str, database_url: str) -> None:
    """Append frames of 10,000 events to their tables, which get new columns beforehand."""
    how = sys.argv[3] if len(sys.argv) > 3 else "sqlalchemy"
    connection = dbapi.connect(database_url) if how == "adbc" else connect(database_url)
    with psycopg.connect(database_url, autocommit=True) as admin, connection:
        admin.execute(f'create schema "{schema}"')
        for tables in peers.chunks(events, orjson.loads):
            for table, rows in tables.items():
                frame = make_frame(rows)
                add_columns(admin, f'"{schema}"."{table}"', frame)
                frame.to_sql(table, connection, schema=schema, if_exists="append", index=False, **OPTIONS.get(how, {}))
            connection.commit()


def connect(database_url: str) -> Connection:
    """A connection by psycopg 3, which sends many rows in one pipeline."""
    return create_engine(make_url(database_url).set(drivername="postgresql+psycopg")).connect()


def make_frame(rows: list[peers.Row]) -> pd.DataFrame:
    """Rows as a frame, times as times."""
    frame = pd.DataFrame.from_records(rows)
    times = [name for name in peers.TIMES if name in frame]
    frame[times] = frame[times].apply(pd.to_datetime, utc=True, format="ISO8601")
    return frame


def add_columns(admin: psycopg.Connection[Any], table: str, frame: pd.DataFrame) -> None:
    """Make the table and the columns it has not got: to_sql would fail on a property not seen in the first chunk."""
    types = {name: "timestamptz" if name in peers.TIMES else "text" for name in frame}
    columns = ", ".join(f'add column if not exists "{name}" {type_}' for name, type_ in types.items())
    admin.execute(f"create table if not exists {table} (); alter table {table} {columns}")


if __name__ == "__main__":
    peers.measure("pandas", load, merges=False)
