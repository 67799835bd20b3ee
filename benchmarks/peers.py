"""The peers of the benchmark: other tools that load the same events, each in its own process and environment.

The benchmark calls `prepare`, `versions` and `run`. The scripts `peer_*.py`, run by the peers' Python, call `chunks`
and `measure`. Only the standard library is imported, so that the module loads in either environment.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Iterator
from functools import cache
from hashlib import blake2b
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
REQUIREMENTS = HERE / "peers.txt"
ENVIRONMENT = HERE / ".peers"

#: Each peer with its script and the arguments after events and schema. pandas is measured three ways: `to_sql` with
#: its defaults over SQLAlchemy, over ADBC (by COPY, the fastest it documents), and with `method="multi"` (the slowest).
PEERS = {
    "dlt": ("peer_dlt.py",),
    "target-postgres": ("peer_target_postgres.py",),
    "pandas": ("peer_pandas.py",),
    "pandas-adbc": ("peer_pandas.py", "adbc"),
    "pandas-multi": ("peer_pandas.py", "multi"),
}
PACKAGES = ("dlt", "meltanolabs-target-postgres", "pandas", "adbc-driver-postgresql")

#: Envelope fields that are columns as they are, and the columns they become.
FIELDS = {
    "messageId": "id",
    "anonymousId": "anonymous_id",
    "userId": "user_id",
    "event": "event_text",
    "originalTimestamp": "original_timestamp",
    "sentAt": "sent_at",
    "receivedAt": "received_at",
    "timestamp": "timestamp",
}
TIMES = ("original_timestamp", "sent_at", "received_at", "timestamp")
LINES_PER_CHUNK = 10_000

Row = dict[str, str]


# The benchmark's side


def prepare() -> Path:
    """Return the peers' Python. Their environment is created again whenever `peers.txt` has changed."""
    python = ENVIRONMENT / "bin" / "python"
    stamp = ENVIRONMENT / "peers.txt"
    if not (python.exists() and stamp.exists() and stamp.read_text() == REQUIREMENTS.read_text()):
        venv.create(ENVIRONMENT, clear=True, symlinks=True, with_pip=True)
        (ENVIRONMENT / ".gitignore").write_text("*\n")
        subprocess.run([python, "-m", "pip", "install", "-qq", "--requirement", REQUIREMENTS], check=True)
        shutil.copyfile(REQUIREMENTS, stamp)
        print("peers:", ", ".join(f"{package} {found}" for package, found in versions().items()), file=sys.stderr)
    return python


def versions() -> dict[str, str]:
    """Return the installed version of each peer."""
    script = "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]))"
    command = [str(ENVIRONMENT / "bin" / "python"), "-c", script, *PACKAGES]
    found = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    return dict(zip(PACKAGES, found, strict=True))


def run(peer: str, events: Path, database_url: str, schema: str) -> float:
    """Return the seconds that a peer, one of `PEERS`, takes to load events into a schema, which is dropped before.

    Starting Python, imports and the check of the rows are not counted.
    """
    script, *options = PEERS[peer]
    done = subprocess.run(
        [prepare(), HERE / script, events, schema, *options],
        env=os.environ | {"SELLIGENT_DATABASE_URL": database_url},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{peer!r} did not load {str(events)!r}:\n{done.stderr[-2000:]}")
    return float(json.loads(done.stdout.splitlines()[-1])["seconds"])


# The peers' side


def measure(package: str, load: Callable[[Path, str, str], None], *, merges: bool = True) -> None:
    """Time `load(events, schema, database_url)`, check its rows and print both as one line of JSON.

    A tool that `merges` stores each id once, others every line.
    """
    events, schema, database_url = Path(sys.argv[1]), sys.argv[2], os.environ["SELLIGENT_DATABASE_URL"]
    expected = count_events(events, distinct=merges)
    drop_schema(database_url, schema)
    start = time.perf_counter()
    load(events, schema, database_url)
    seconds = time.perf_counter() - start
    rows = count_tracks(database_url, schema)
    if rows != expected:
        raise SystemExit(f"{package} stored {rows} rows in tracks, not {expected}")
    print(json.dumps({"peer": package, "version": version(package), "seconds": round(seconds, 3), "rows": rows}))


def chunks(events: Path, loads: Callable[[bytes], Any]) -> Iterator[dict[str, list[Row]]]:
    """Rows by table, for 10,000 events at a time: one in `tracks` and one in the event's own table."""
    with events.open("rb") as lines:
        while chunk := list(islice(lines, LINES_PER_CHUNK)):
            tables: dict[str, list[Row]] = {"tracks": []}
            for line in chunk:
                event = loads(line)
                track = make_track(event, line)
                tables["tracks"].append(track)
                tables.setdefault(track["event"], []).append(flatten(event.get("properties")) | track)
            yield tables


def make_track(event: dict[str, Any], line: bytes) -> Row:
    """The event's row without its properties, every value as text."""
    row = {column: event[field] for field, column in FIELDS.items() if event.get(field) is not None}
    row["event"] = snake_case(event["event"])
    row.setdefault("id", derive_id(line))
    return row | flatten(event.get("context"), "context_")


def derive_id(line: bytes) -> str:
    """An id for an event without one, the same for the same line."""
    return blake2b(line, digest_size=16).hexdigest()


def flatten(value: dict[str, Any] | None, prefix: str = "") -> Row:
    """Columns of an object; what is not a string becomes JSON text, so that a property may change its type.

    >>> flatten({"userAgent": "x", "traits": {"age": 3, "city": None}}, "context_")
    {'context_user_agent': 'x', 'context_traits_age': '3'}
    """
    row: Row = {}
    for key, item in (value or {}).items():
        name = prefix + snake_case(key)
        if isinstance(item, str):
            row[name] = item
        elif isinstance(item, dict):
            row |= flatten(item, name + "_")
        elif item is not None:
            row[name] = json.dumps(item)
    return row


@cache
def snake_case(name: str) -> str:
    """A name as a column or table, near enough to Segment's for a comparison of speed.

    >>> snake_case("Email Link Clicked"), snake_case("userAgent")
    ('email_link_clicked', 'user_agent')
    """
    return re.sub(r"[^a-z0-9]+", "_", re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower()).strip("_")


def count_events(events: Path, *, distinct: bool) -> int:
    """How many lines the file has, or how many ids."""
    with events.open("rb") as lines:
        if not distinct:
            return sum(1 for _ in lines)
        return len({json.loads(line).get("messageId") or derive_id(line) for line in lines})


def drop_schema(database_url: str, schema: str) -> None:
    """Leave nothing of an earlier run, dlt's staging schema included."""
    import psycopg

    with psycopg.connect(database_url) as connection:
        connection.execute(f'drop schema if exists "{schema}", "{schema}_staging" cascade')


def count_tracks(database_url: str, schema: str) -> int:
    """How many rows of `tracks` the peer has stored."""
    import psycopg

    with psycopg.connect(database_url) as connection:
        row = connection.execute(f'select count(*) from "{schema}".tracks').fetchone()
    return int(row[0]) if row else 0
