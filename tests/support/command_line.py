"""Run the command line as a user does."""

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, cast

from loader.config import Settings
from tests.support.command_server import inherited, run_copy
from tests.support.loading import one, select

COMMAND = str(Path(sys.executable).with_name("selligent-loader"))
SIGNALS = (signal.SIGTERM, signal.SIGINT)
SECRET = "wr0ng-Secret"
#: A URL on which no server listens.
AWAY = f"postgresql://ada:{SECRET}@127.0.0.1:1/warehouse"


CONTROL = re.compile(r"[^\t\n -~\u00a0-\U0010ffff]")
#: A line that is neither JSON nor UTF-8, with bytes that decoding or line splitting could change.
BROKEN = b'\xff\xfe \r{"event":\0\t"\x1b[31m  '


@dataclass(frozen=True, slots=True)
class Ended:
    """The exit code and output of a command."""

    code: int
    raw: bytes
    err: str

    @property
    def out(self) -> str:
        return self.raw.decode()


Run = Callable[..., Ended]


def environment(settings: Settings | None, **variables: str) -> dict[str, str]:
    """Return the environment for a command. The embedded server cannot start unless `variables` has a home folder."""
    given = {"SELLIGENT_HOME": os.devnull}
    if settings and settings.database_url:
        given["SELLIGENT_DATABASE_URL"] = settings.database_url
    return inherited() | given | variables


def run_command(
    settings: Settings | None, folder: Path, *arguments: str, stdin: bytes = b"", **variables: str
) -> Ended:
    """Run a command to its end. One that reads from a pipe is started as a user starts it, others from a copy."""
    given = environment(settings, **variables)
    if not stdin:
        return _run_copy(arguments, folder, given)
    done = subprocess.run(
        [COMMAND, *arguments], input=stdin, cwd=folder, env=given, capture_output=True, timeout=60, check=False
    )
    return Ended(done.returncode, done.stdout, done.stderr.decode())


def _run_copy(arguments: Sequence[str], folder: Path, given: Mapping[str, str]) -> Ended:
    with Path(os.devnull).open("rb") as nothing, TemporaryFile() as out, TemporaryFile() as err:
        code = run_copy(arguments, folder, given, [nothing, out, err], seconds=60)
        out.seek(0)
        err.seek(0)
        return Ended(code, out.read(), err.read().decode())


@contextmanager
def started(settings: Settings, folder: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Start a command with a pipe as standard input, in its own process group; kill it if it has not ended."""
    with (folder / "said").open("wb") as said:  # not a pipe, which an orphaned process would keep open
        process = subprocess.Popen(
            [COMMAND, *arguments],
            cwd=folder,
            env=environment(settings),
            stdin=subprocess.PIPE,
            stdout=said,
            stderr=said,
            start_new_session=True,
            # Background jobs of a shell, which may run these tests, ignore SIGINT.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
    with process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def end(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Send a signal, SIGINT to the whole group as Ctrl-C does, and wait for the end."""
    (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
    process.wait(10)


def sessions(settings: Settings) -> list[Any]:
    """Return the sessions of loaders in a database."""
    query = """
        select state, wait_event_type, query from pg_stat_activity
        where datname = current_database() and application_name ~ '^selligent-loader'
    """
    return select(settings, query)


def opened(settings: Settings) -> int:
    return len(select(settings, "select from files"))


def committed(settings: Settings) -> int:
    return int(one(settings, "select coalesce(sum(events_read), 0)::bigint as count from files")["count"])


def waiting(settings: Settings) -> int:
    """Return the number of loaders that wait for a lock."""
    return sum(session["wait_event_type"] == "Lock" for session in sessions(settings))


@contextmanager
def started_in_pipe(settings: Settings, folder: Path, data: bytes) -> Iterator[subprocess.Popen[bytes]]:
    """Start a load that has read most of the data from a pipe, and waits for more."""
    with started(settings, folder, "load", "-") as process:
        pipe = cast(IO[bytes], process.stdin)
        pipe.write(data)  # more than the buffer of a pipe
        pipe.flush()
        yield process


def run_on_terminal(
    settings: Settings, folder: Path, *arguments: str, piped: bool, columns: int = 80, **variables: str
) -> tuple[int, str, str]:
    """Run a command on a terminal; return its exit code, its standard output if piped, and the terminal's output."""
    terminal, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("4H", 40, columns, 0, 0))
    with subprocess.Popen(
        [COMMAND, *arguments],
        cwd=folder,
        env=environment(settings, TERM="xterm", **variables),
        stdin=end,
        stdout=subprocess.PIPE if piped else end,
        stderr=end,
        start_new_session=True,
    ) as process:
        os.close(end)
        shown = b"".join(iter(partial(read_terminal, terminal), b""))
        out = process.stdout.read() if process.stdout else b""
        code = process.wait(60)
    os.close(terminal)
    return code, out.decode(), shown.decode()


def read_terminal(terminal: int) -> bytes:
    with suppress(OSError):  # Linux reports a closed other end as EIO
        return os.read(terminal, 1 << 16)
    return b""


def keys(data: bytes) -> int:
    """Return the number of rows that lines become: one for each key."""
    lines = ((line, json.loads(line)) for line in data.splitlines())
    return len({(item.get("messageId") or line, item.get("originalTimestamp")) for line, item in lines})
