"""The command, run as a user runs it."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

from loader.config import Settings
from tests.support.loading import one, select

COMMAND = str(Path(sys.executable).with_name("selligent-loader"))
#: All that a command gets of our environment: nothing that names a database, nothing that colours what is printed.
KEPT = ("PATH", "HOME", "TMPDIR", "PYTHONPATH")
SIGNALS = (signal.SIGTERM, signal.SIGINT)
SECRET = "wr0ng-Secret"
#: Nobody listens there.
AWAY = f"postgresql://ada:{SECRET}@127.0.0.1:1/warehouse"


CONTROL = re.compile(r"[^\t\n -~\u00a0-\U0010ffff]")
#: A line that is no event and no text, with all that a careless reader would change.
BROKEN = b'\xff\xfe \r{"event":\0\t"\x1b[31m  '


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    code: int
    raw: bytes
    err: str

    @property
    def out(self) -> str:
        return self.raw.decode()


Run = Callable[..., Ended]


def environment(settings: Settings | None, **variables: str) -> dict[str, str]:
    """The variables of a user of a database; without one the embedded server has no home unless they name it."""
    given = {"SELLIGENT_HOME": os.devnull}
    if settings and settings.database_url:
        given["SELLIGENT_DATABASE_URL"] = settings.database_url
    return {name: os.environ[name] for name in KEPT if name in os.environ} | given | variables


def run_command(
    settings: Settings | None, folder: Path, *arguments: str, stdin: bytes = b"", **variables: str
) -> Ended:
    done = subprocess.run(
        [COMMAND, *arguments],
        input=stdin,
        cwd=folder,
        env=environment(settings, **variables),
        capture_output=True,
        timeout=60,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr.decode())


@contextmanager
def started(settings: Settings, folder: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command with a pipe to its standard input, in a process group of its own; killed if it has not ended."""
    with (folder / "said").open("wb") as said:  # no pipe, which a process left behind would hold open
        process = subprocess.Popen(
            [COMMAND, *arguments],
            cwd=folder,
            env=environment(settings),
            stdin=subprocess.PIPE,
            stdout=said,
            stderr=said,
            start_new_session=True,
            # A shell's background jobs, which may run these tests, are deaf to Ctrl-C.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
    with process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def end(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Send a signal, as Ctrl-C to the whole group, and wait for the end."""
    (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
    process.wait(10)


def sessions(settings: Settings) -> list[Any]:
    """The sessions of loaders in a database."""
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
    """The number of loaders that wait for a lock."""
    return sum(session["wait_event_type"] == "Lock" for session in sessions(settings))


@contextmanager
def started_in_pipe(settings: Settings, folder: Path, data: bytes) -> Iterator[subprocess.Popen[bytes]]:
    """A load that has read most of what a pipe gives, and waits for more."""
    with started(settings, folder, "load", "-") as process:
        pipe = cast(IO[bytes], process.stdin)
        pipe.write(data)  # more than a pipe holds
        pipe.flush()
        yield process


def run_on_terminal(settings: Settings, folder: Path, *arguments: str, piped: bool) -> tuple[int, str, str]:
    """Run a command on a terminal; return its exit code, its standard output if piped, what the terminal got."""
    terminal, end = pty.openpty()
    with subprocess.Popen(
        [COMMAND, *arguments],
        cwd=folder,
        env=environment(settings, TERM="xterm"),
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
    with suppress(OSError):  # how Linux says that nobody has the other end open
        return os.read(terminal, 1 << 16)
    return b""


def keys(data: bytes) -> int:
    """The number of rows events become: one for each of their keys."""
    lines = ((line, json.loads(line)) for line in data.splitlines())
    return len({(item.get("messageId") or line, item.get("originalTimestamp")) for line, item in lines})
