"""Run commands in copies of a process that has imported them already: importing takes a second of processor time.

The process begins with the first command and ends with the tests. It opens no connection. It has threads of NumPy and
of Arrow's allocator, which are prepared for being copied.
"""

import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import traceback
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any

import click

from loader.cli.main import commands, main

#: The only variables that a command inherits; none selects a database or colours the output.
KEPT = ("PATH", "HOME", "TMPDIR", "PYTHONPATH")

#: Standard input, output and error of a command, then the pipe for its process id and its exit code.
FILES = 4
#: How these two are written.
NUMBER = struct.Struct("i")


def inherited() -> dict[str, str]:
    return {name: os.environ[name] for name in KEPT if name in os.environ}


def subcommands(group: click.Group) -> dict[str, click.Command]:
    """Return the commands of a group by name; those of the top are imported when asked for."""
    context = click.Context(group)
    found = {name: group.get_command(context, name) for name in group.list_commands(context)}
    return {name: command for name, command in found.items() if command}


@cache
def _server() -> socket.socket:
    """Start the process, and return the socket that takes requests."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        subprocess.Popen(
            [sys.executable, "-m", __name__, str(theirs.fileno())],
            cwd=Path(__file__).parents[2],
            env=inherited(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
        )
    return ours


def run_copy(
    arguments: Sequence[str], folder: Path, environment: Mapping[str, str], files: Sequence[IO[Any]], *, seconds: float
) -> int:
    """Run a command with these files as standard input, output and error, and return its exit code.

    Kills it and raises TimeoutError if it takes longer.
    """
    read, write = os.pipe()
    with os.fdopen(read, "rb", buffering=0) as numbers:
        with os.fdopen(write, "wb") as written:
            request = json.dumps([arguments, str(folder), dict(environment)]).encode()
            socket.send_fds(_server(), [request], [*(file.fileno() for file in files), written.fileno()])
        (process,) = NUMBER.unpack(numbers.read(NUMBER.size))
        is_in_time = bool(select.select([numbers], [], [], seconds)[0])
        if not is_in_time:
            os.kill(process, signal.SIGKILL)
        (code,) = NUMBER.unpack(numbers.read(NUMBER.size))
    if not is_in_time:
        raise TimeoutError(f"{' '.join(arguments)} was killed after {seconds} seconds")
    return int(code)


def serve(requests: socket.socket) -> None:
    """Run each requested command in a process of its own, until the tests have ended."""
    subcommands(commands)
    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # those who wait for a command are not waited for
    while True:
        request, files, *_ = socket.recv_fds(requests, 1 << 20, FILES)
        if not request:
            return
        if not os.fork():
            requests.close()
            arguments, folder, environment = json.loads(request)
            _wait_for_command(arguments, folder, environment, files)
        for file in files:
            os.close(file)


def _wait_for_command(arguments: list[str], folder: str, environment: dict[str, str], files: Sequence[int]) -> None:
    """Run a command in a new process, and write its id and its exit code, as `subprocess` gives it."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    *standard, numbers = files
    if not (process := os.fork()):
        for number, file in enumerate(standard):
            os.dup2(file, number)
        os.closerange(3, max(files) + 1)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        os._exit(_run(arguments))
    os.write(numbers, NUMBER.pack(process))
    os.write(numbers, NUMBER.pack(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])))
    os._exit(0)


def _run(arguments: list[str]) -> int:
    sys.argv[1:] = arguments
    try:
        main()
    except SystemExit as exc:
        return int(exc.code or 0)
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as listening:
        serve(listening)
