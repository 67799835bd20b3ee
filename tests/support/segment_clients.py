"""Install client libraries of Segment and RudderStack, each in an environment of its own: dependencies conflict.

`python -m tests.support.segment_clients SCRIPT ARGUMENTS` runs a script with the Python client.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

#: Created once, and kept until `make clean`.
FOLDER = Path(__file__).parents[2] / ".clients"
PYTHON = "segment-analytics-python==2.4.0"
NODE = "@segment/analytics-node@3.1.0"
RUDDER_PYTHON = "rudder-sdk-python==2.1.4"
RUDDER_NODE = "@rudderstack/rudder-sdk-node@3.0.12"


class MissingError(Exception):
    """A client that cannot be installed, and why."""


def python_client(package: str = PYTHON) -> Path:
    """Return a Python interpreter that has the client."""
    place = FOLDER / package
    program = place / "bin" / "python"
    if not (place / "ready").exists():
        shutil.rmtree(place, ignore_errors=True)
        _run(sys.executable, "-m", "venv", str(place))
        _run(str(program), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", package)
        (place / "ready").touch()
    return program


def node_client(package: str = NODE) -> Path:
    """Return a folder in which Node.js finds the client."""
    place = FOLDER / package.replace("/", "-")
    if not shutil.which("node") or not shutil.which("npm"):
        raise MissingError("node and npm are not installed")
    if not (place / "ready").exists():
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        _run("npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(place), package)
        (place / "ready").touch()
    return place


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise MissingError(f"{' '.join(command)} failed: {done.stderr[-500:]}")


if __name__ == "__main__":
    try:
        found = python_client()
    except MissingError as error:
        sys.exit(str(error))
    os.execv(found, [str(found), *sys.argv[1:]])
