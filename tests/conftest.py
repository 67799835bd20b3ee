"""Fixtures: a migrated PostgreSQL template database, cloned for each test."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from uuid import uuid4

import hypothesis
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from loader.api import load
from loader.config import Settings
from loader.migrate import migrate
from loader.pipeline.options import Options
from loader.postgres import embedded
from loader.postgres.embedded_programs import find_wheel
from loader.sample import ndjson, site
from tests.support import citus
from tests.support.command_line import Run, run_command

# A crashed server restarts on its port. Each test process uses its own range of ports, apart from the command's default
# range, so that no other server takes the port in between.
embedded.FIRST_PORT += 200 * (1 + int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")))

#: The URL of a database on the coordinator of a Citus cluster, which knows the workers. All tests then use databases of
#: this cluster, whose event tables are distributed; without it, tests that need a cluster are skipped.
CITUS = os.environ.get("SELLIGENT_TEST_CITUS_URL")

# No example fails because it took long: machines are shared.
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")

#: The last day of the sample events, which are those of yesterday by default.
LAST_DAY = "2025-12-31"
#: Number of events of the database `sampled`.
SAMPLED_EVENTS = 5000

#: A file system in memory, and the bytes that it must have free for a server. The hundreds of files of a database take
#: long to create and to remove on a disk.
MEMORY, SERVER_BYTES = Path("/dev/shm"), 8 << 30

#: These run in the environment of a client library or of Superset, not of the tests.
collect_ignore = ["support/send_demo.py", "support/send_demo_site.py", "support/superset_import.py"]


@contextmanager
def own_server() -> Iterator[Path]:
    """Yield the home folder of an embedded server, which is stopped after the body."""
    has_memory = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= SERVER_BYTES
    with tempfile.TemporaryDirectory(dir=MEMORY if has_memory else None) as folder:
        home = Path(folder)
        home.chmod(0o711)  # so that the server, which runs as another user under root, can traverse it
        try:
            embedded.start(home)
            yield home
        finally:
            embedded.stop(home)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the files that have slow tests, so that all processes are busy until the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The URL of the server in SELLIGENT_TEST_CITUS_URL or SELLIGENT_TEST_DATABASE_URL, else of an embedded server."""
    if url := CITUS or os.environ.get("SELLIGENT_TEST_DATABASE_URL"):
        yield url
        return
    with own_server() as home:
        url = embedded.start(home).url
        with psycopg.connect(url, autocommit=True) as connection:  # a test's database is dropped in a tenth of the time
            connection.execute("alter system set fsync = off")
            connection.execute("select pg_reload_conf()")
        yield url


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """The home folder of a separate server for the module, for tests that damage it."""
    with own_server() as home:
        yield home


def database(server: str, name: str) -> str:
    return make_conninfo("", **{**conninfo_to_dict(server), "dbname": name})


@pytest.fixture(scope="session")
def template(server: str) -> Iterator[str]:
    """The name of a migrated database."""
    name = f"template_{uuid4().hex[:12]}"
    if CITUS:
        with citus.distributed_template(server, name):
            yield name
        return
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        migrate(Settings(database(server, name), "selligent"))
        yield name
        connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


@contextmanager
def clone(server: str, template: str) -> Iterator[Settings]:
    """Yield a migrated database for the body."""
    name = f"test_{uuid4().hex[:12]}"
    if CITUS:
        try:
            yield citus.clone(server, name, template)
        finally:
            citus.drop(server, name)
        return
    with psycopg.connect(server, autocommit=True) as connection:
        statement = sql.SQL("create database {} template {} strategy file_copy")
        connection.execute(statement.format(sql.Identifier(name), sql.Identifier(template)))
        yield Settings(database(server, name), "selligent")
        connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


@pytest.fixture
def settings(server: str, template: str) -> Iterator[Settings]:
    """The settings of a migrated database for one test."""
    with clone(server, template) as settings:
        yield settings


@pytest.fixture(scope="session")
def sampled(server: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A database with sample events and the data of a site, for tests that change nothing."""
    folder = tmp_path_factory.mktemp("sampled")
    script, events = folder / "site.sql", folder / "events.jsonl"
    script.write_bytes(b"".join(site.script(SAMPLED_EVENTS, 1, "site")))
    events.write_bytes(b"".join(ndjson.lines(SAMPLED_EVENTS, 1)))
    program = str(find_wheel() / "pginstall/bin/psql")
    with clone(server, template) as settings:
        arguments = [program, "-q", "-f", str(script), settings.database_url or ""]
        subprocess.run(arguments, check=True, capture_output=True)
        load(settings, [str(events)], Options(), is_refreshing=False)
        migrate(settings, ["site"])
        yield settings


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", place], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.decode()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


@pytest.fixture
def run(settings: Settings, tmp_path: Path) -> Run:
    """Run a command in the test's folder, with the URL of its database in the environment."""
    return partial(run_command, settings, tmp_path)


@pytest.fixture(scope="session")
def generated(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Sample events, as generated by `sample`."""
    folder = tmp_path_factory.mktemp("sample")
    written = run_command(
        None, folder, "sample", "--events", "2000", "--seed", "3", "--until", LAST_DAY, "--out", "events.jsonl"
    )
    assert (written.code, written.out, written.err) == (0, "", "")
    return (folder / "events.jsonl").read_bytes()


@pytest.fixture
def events(generated: bytes, tmp_path: Path) -> Path:
    """The path of `events.jsonl`, the sample events, in the test's folder."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(generated)
    return path
