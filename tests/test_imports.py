"""The shape of the package: imports go one way, each library has one place, modules are short."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = {f"loader.{path.stem}".removesuffix(".__init__"): path for path in sorted((ROOT / "loader").glob("*.py"))}
REVISIONS = sorted((ROOT / "migrations" / "versions").glob("*.py"))
COMMAND_LINE = {name for name in MODULES if name.startswith("loader.cli")}


def imported(source: str) -> Iterator[str]:
    """Yield the dotted names a source imports, at its top or in its functions; `from a import b` gives `a.b`.

    >>> list(imported("import a.b, c\\ndef f():\\n    from d.e import f as g, h"))
    ['a.b', 'c', 'd.e.f', 'd.e.h']
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def libraries(path: Path) -> set[str]:
    """The top-level packages a module imports."""
    return {name.partition(".")[0] for name in imported(path.read_text("utf-8"))}


def neighbours(source: str) -> set[str]:
    """The modules of the package that a source imports, or takes names from.

    >>> sorted(neighbours("from loader import pipeline, __version__\\nfrom loader.files import File\\nimport json"))
    ['loader', 'loader.files', 'loader.pipeline']
    """
    names = set(imported(source))
    return {name for name in names | {name.rpartition(".")[0] for name in names} if name in MODULES}


def test_imports_go_one_way() -> None:
    graph = {name: neighbours(path.read_text("utf-8")) for name, path in MODULES.items()}
    del graph["loader"]  # the front door, which opens the rest when it is called
    assert sum(map(len, graph.values())) > len(MODULES)
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the cycle


@pytest.mark.parametrize(
    ("library", "places"),
    [
        ("psycopg", {"loader.warehouse"}),
        ("duckdb", {"loader.scratch"}),
        ("pgpq", {"loader.rows"}),
        ("msgspec", {"loader.calls"}),
        ("click", COMMAND_LINE),
        ("fsspec", {"loader.remote"}),
        ("pandas", {"loader", "loader.frames", "loader.session"}),
        ("rich", {"loader.output", "loader.progress"}),
        ("prometheus_client", {"loader.gauges", "loader.metrics"}),
    ],
)
def test_a_library_is_known_to_few_modules(library: str, places: set[str]) -> None:
    found = {name for name, path in MODULES.items() if library in libraries(path)}
    assert found
    assert found <= places


@pytest.mark.parametrize("path", REVISIONS, ids=lambda path: path.stem)
def test_a_revision_is_frozen(path: Path) -> None:
    """What it did once does not change with the loader or with the files in `sql/`."""
    assert "loader" not in libraries(path)
    assert ".sql" not in path.read_text("utf-8")


@pytest.mark.parametrize("path", MODULES.values(), ids=lambda path: path.stem)
def test_a_module_is_read_in_one_sitting(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= 300
