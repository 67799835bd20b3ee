"""Load EVENTS_FILE into SCHEMA with dlt: CSV files by COPY into a staging schema, merged by `id`."""

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

# dlt's own advice on speed: normalize in parallel, on files small enough to share out, and do not compress them.
os.environ |= {
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "NORMALIZE__WORKERS": str(os.cpu_count()),
    "DATA_WRITER__DISABLE_COMPRESSION": "true",
    "DATA_WRITER__FILE_MAX_ITEMS": "20000",
}

import dlt
import orjson
import peers
from dlt.destinations.impl.postgres.configuration import PostgresCredentials
from psycopg.conninfo import conninfo_to_dict


def load(events: Path, schema: str, database_url: str) -> None:
    """Extract, normalize and load, as one run of a pipeline."""
    with TemporaryDirectory() as folder:
        pipeline = dlt.pipeline(
            pipeline_name="peer",
            pipelines_dir=folder,
            destination=dlt.destinations.postgres(credentials=make_credentials(database_url)),
            dataset_name=schema,
        )
        tables = dlt.resource(
            read_tables(events),
            name="tracks",
            primary_key="id",
            write_disposition="merge",
            columns={time: {"data_type": "timestamp"} for time in peers.TIMES},
        )
        pipeline.run(tables, loader_file_format="csv")


def read_tables(events: Path) -> Iterator[Any]:
    """Pages of rows, each marked with its table."""
    for tables in peers.chunks(events, orjson.loads):
        for table, rows in tables.items():
            yield dlt.mark.with_table_name(rows, table)


def make_credentials(database_url: str) -> PostgresCredentials:
    """The URL for dlt, which insists on a password, and on a host even where it is a socket's folder."""
    parts = {name: str(value) for name, value in conninfo_to_dict(database_url).items()}
    credentials = PostgresCredentials()
    credentials.username = parts.pop("user", "postgres")
    credentials.password = parts.pop("password", "none")
    credentials.database = parts.pop("dbname", credentials.username)
    credentials.host = "localhost"
    credentials.query = parts
    return credentials


if __name__ == "__main__":
    peers.measure("dlt", load)
