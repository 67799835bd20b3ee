"""A migrated PostgreSQL for the tests: one template database, cloned for each test."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from loader.config import Settings
from loader.migrate import migrate
from loader.postgres import embedded

# A server that crashes comes back to its port. So that no other has it then, each process of the tests has ports of its
# own, and the command, which tests start too, the usual ones.
embedded.FIRST_PORT += 200 * (1 + int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")))

#: A script for the environment of a client.
collect_ignore = ["support/send_demo.py"]


@contextmanager
def own_server() -> Iterator[Path]:
    """The home of an embedded server that is stopped after the body."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        home.chmod(0o711)  # so that root's server, which runs as another user, gets through
        try:
            embedded.start(home)
            yield home
        finally:
            embedded.stop(home)


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The URL of the server given by SELLIGENT_TEST_DATABASE_URL, else of an embedded one."""
    if url := os.environ.get("SELLIGENT_TEST_DATABASE_URL"):
        yield url
        return
    with own_server() as home:
        yield embedded.start(home).url


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """The home of a server of the module's own, to be treated badly."""
    with own_server() as home:
        yield home


def database(server: str, name: str) -> str:
    return make_conninfo("", **{**conninfo_to_dict(server), "dbname": name})


@pytest.fixture(scope="session")
def template(server: str) -> Iterator[str]:
    """The name of a migrated database."""
    name = f"template_{uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        migrate(Settings(database(server, name), "selligent"))
        yield name
        connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


@contextmanager
def clone(server: str, template: str) -> Iterator[Settings]:
    """A migrated database for the body alone."""
    name = f"test_{uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as connection:
        statement = sql.SQL("create database {} template {}")
        connection.execute(statement.format(sql.Identifier(name), sql.Identifier(template)))
        yield Settings(database(server, name), "selligent")
        connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


@pytest.fixture
def settings(server: str, template: str) -> Iterator[Settings]:
    """A migrated database of the test's own."""
    with clone(server, template) as settings:
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
