"""The wheel and the source archive: what they contain, and that an installed wheel loads events."""

import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from loader.config import Settings
from loader.sample import ndjson
from tests.support.command_line import environment
from tests.support.loading import one, select

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
#: Files of the checkout that the loader reads when it runs.
DATA = [
    "sql/views/*.sql",
    "sql/internal/*.sql",
    "sql/functions/*.sql",
    "sql/refresh/*.sql",
    "sql/operations/**/*.sql",
    "migrations/versions/*.py",
]
#: What the loader needs to run its migrations, beside the revisions.
MIGRATION_FILES = ["migrations/env.py", "migrations/script.py.mako"]
#: A schema that the template database of the tests does not have.
SCHEMA = "packaged"


def build(source: Path, target: str, folder: Path) -> Path:
    """Return the file that the build backend makes of a source tree, without network."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(folder)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (built,) = folder.iterdir()
    return built


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source archive."""
    return build(ROOT, "sdist", tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def unpacked(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the source archive holds."""
    place = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(archive) as stream:
        stream.extractall(place, filter="data")
    (folder,) = place.iterdir()
    return folder


@pytest.fixture(scope="module")
def wheel(unpacked: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source archive as pip does it."""
    return build(unpacked, "wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a virtual environment with the wheel; the dependencies are those of the tests' environment.

    Python does not read .pth files in a folder that a .pth file names, so the editable install stays out.
    """
    place = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
    (packages,) = place.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = [sys.executable, "-m", "pip", "--python", str(place / "bin/python"), "install", "--quiet"]
    options = ["--no-index", "--no-deps", "--ignore-installed", "--disable-pip-version-check"]
    subprocess.run([*pip, *options, str(wheel)], check=True, capture_output=True)
    return place / "bin"


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """A working directory outside the checkout."""
    folder = tmp_path / "empty"
    folder.mkdir()
    return folder


def required() -> Iterator[str]:
    """Yield the paths, relative to the checkout, of the files that the loader reads when it runs."""
    for pattern in DATA:
        found = [path.relative_to(ROOT).as_posix() for path in ROOT.glob(pattern)]
        assert found, pattern
        yield from found
    yield from MIGRATION_FILES


def test_the_wheel_has_the_package_its_data_and_its_types(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {path.relative_to(ROOT).as_posix() for kind in ("py", "css") for path in ROOT.glob(f"loader/**/*.{kind}")}
    assert modules | {"loader/py.typed"} | {f"loader/{path}" for path in required()} <= names
    assert {name.partition("/")[0] for name in names if ".dist-info" not in name} == {"loader"}
    assert not [name for name in names if "__pycache__" in name]


def test_the_source_archive_has_what_tests_and_readers_need(unpacked: Path) -> None:
    expected = [
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "LICENSE",
        "Makefile",
        "constraints.txt",
        "pyproject.toml",
    ]
    expected += ["tests/conftest.py", "tests/test_package.py", "examples/crontab", "benchmarks/README.md"]
    expected += [path.relative_to(ROOT).as_posix() for path in ROOT.glob("docs/*.md")]
    assert [path for path in (*expected, *required()) if not (unpacked / path).is_file()] == []
    ignored = {".venv", ".demo", ".clients", ".git"}
    assert ignored.isdisjoint(path.name for path in unpacked.iterdir())


def test_an_installed_wheel_is_imported_from_its_environment(installed: Path, empty: Path) -> None:
    script = "import loader, loader.config; print(loader.__file__, loader.config.data_root())"
    done = subprocess.run(
        [installed / "python", "-c", script], cwd=empty, env=environment(None), check=True, capture_output=True
    )
    places = [Path(place) for place in done.stdout.decode().split()]
    assert all(place.is_relative_to(installed.parent) for place in places), places
    assert (places[1] / "sql").is_dir()


def test_an_installed_wheel_prepares_a_database_and_loads(
    installed: Path, settings: Settings, empty: Path, tmp_path: Path
) -> None:
    target = replace(settings, schema=SCHEMA)
    events = tmp_path / "events.jsonl"
    events.write_bytes(b"".join(ndjson.lines(2000, 1)))
    for arguments in (["init"], ["load", str(events)], ["check", "--warn", "9999d", "--error", "9999d"]):
        done = subprocess.run(
            [installed / "selligent-loader", *arguments, "--schema", SCHEMA],
            cwd=empty,
            env=environment(settings),
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
    read = one(target, "select events_read, events_loaded, version from loads")
    rows = one(target, "select count(*) as count from tracks")["count"]
    assert (read["events_read"], read["events_loaded"]) == (2000, rows)
    assert rows > 1900
    assert select(target, "select from campaigns")
    assert list(empty.iterdir()) == []
