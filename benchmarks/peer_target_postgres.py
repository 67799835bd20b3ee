"""Load EVENTS_FILE into SCHEMA with Meltano's target-postgres by COPY; without SCHEMA, be the Singer tap before it."""

import logging
import sys
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

import orjson
import peers


def write_messages(events: Path) -> None:
    """The tap: a SCHEMA message whenever a table gains columns, and a RECORD message for each row."""
    columns: dict[str, dict[str, Any]] = {}
    for tables in peers.chunks(events, orjson.loads):
        for table, rows in tables.items():
            known = columns.setdefault(table, {})
            if new := {name for row in rows for name in row} - known.keys():
                known |= {name: describe(name) for name in sorted(new)}
                write({"type": "SCHEMA", "stream": table, "schema": {"properties": known}, "key_properties": ["id"]})
            for row in rows:
                write({"type": "RECORD", "stream": table, "record": row})


def write(message: dict[str, Any]) -> None:
    """One message on one line of standard output."""
    sys.stdout.buffer.write(orjson.dumps(message, option=orjson.OPT_APPEND_NEWLINE))


def describe(column: str) -> dict[str, Any]:
    """The column's JSON schema."""
    return {"type": ["string", "null"]} | ({"format": "date-time"} if column in peers.TIMES else {})


def load(events: Path, schema: str, database_url: str) -> None:
    """The target, without what costs time and is not asked for: record validation and `_sdc_` columns."""
    target = TargetPostgres(
        config={
            "sqlalchemy_url": make_url(database_url).set(drivername="postgresql+psycopg").render_as_string(False),
            "default_target_schema": schema,
            "use_copy": True,
            "batch_size_rows": 10_000,
            "validate_records": False,
            "add_record_metadata": False,
            "activate_version": False,
        }
    )
    target.listen(tap.stdout)


if __name__ == "__main__":
    if len(sys.argv) == 2:
        write_messages(Path(sys.argv[1]))
    else:
        from sqlalchemy import make_url
        from target_postgres.target import TargetPostgres

        # Started before the clock: the pipe holds it back until the target reads.
        with Popen([sys.executable, __file__, sys.argv[1]], stdout=PIPE, text=True) as tap:
            logging.disable(logging.INFO)
            peers.measure("meltanolabs-target-postgres", load)
