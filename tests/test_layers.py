"""The structure of the package: layers, where each library is imported, size of modules, frozen revisions."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
#: From the top down. A package or module imports only from lines below its own. `docs/architecture.md` has a copy.
LAYERS = """
cli
terminal
api migrate bi
endpoint monitoring reports privacy
forwarding
pipeline integrations
transform views
inputs schema spool
postgres duckdb
events
config
errors logs quoting version crash_points
"""
#: Imports that are allowed beside those: `sample` makes events up, and only the command line uses it.
SAMPLE_IMPORTS = {"quoting"}
#: The modules, or the package, in which each library may be imported.
LIBRARIES = {
    "psycopg": {"loader.postgres.connection", "loader.postgres.sqlstate"},
    "duckdb": {"loader.duckdb"},
    "pgpq": {"loader.postgres.copy"},
    "msgspec": {
        "loader.endpoint.tracking_calls",
        "loader.integrations.event",
        "loader.integrations.mapping",
        "loader.forwarding.audience",
        *(f"loader.integrations.selligent.{name}" for name in ("operations", "schedule", "sources")),
    },
    "cryptography": {"loader.forwarding.secrets"},
    "urllib3": {"loader.integrations.addresses", "loader.integrations.http"},
    "fsspec": {"loader.inputs.object_store"},
    "pandas": {"loader", "loader.inputs.dataframe"},
    "xlsxwriter": {"loader.bi.workbook"},
    "yaml": {"loader.bi.dbt", "loader.bi.superset"},
    "rich": {"loader.terminal"},
    "prometheus_client": {"loader.endpoint.metrics", "loader.monitoring.outcome"},
    "alembic": {"loader.migrate"},
    "uvicorn": {"loader.endpoint.server", "loader.endpoint.http_connection"},
    "starlette": {f"loader.endpoint.{name}" for name in ("authentication", "cross_origin", "requests", "routes")},
    "babel": {"loader.reports.page.formats"},
    "click": {"loader.cli"},
}
MAX_LINES, MAX_MODULES = 300, 15

MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((ROOT / "loader").rglob("*.py"))
}
PACKAGES = {path.parent for path in MODULES.values()} - {ROOT / "loader"}
REVISIONS = sorted((ROOT / "migrations" / "versions").glob("*.py"))
LAYER = {name: number for number, line in enumerate(reversed(LAYERS.split("\n"))) for name in line.split()}


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
    """Return the top-level packages a module imports."""
    return {name.partition(".")[0] for name in imported(path.read_text("utf-8"))}


def neighbours(source: str) -> set[str]:
    """Return the modules of the package that a source imports, or takes names from.

    >>> sorted(neighbours("from loader import logs, load\\nfrom loader.inputs.file import File\\nimport json"))
    ['loader', 'loader.inputs.file', 'loader.logs']
    """
    names = {name if name in MODULES else name.rpartition(".")[0] for name in imported(source)}
    return names & set(MODULES)


def room(module: str) -> str:
    """Return the package of a module, or the module if it lies in none.

    >>> room("loader.inputs.file"), room("loader.logs"), room("loader")
    ('inputs', 'logs', '')
    """
    return module.partition(".")[2].partition(".")[0]


GRAPH = {name: neighbours(path.read_text("utf-8")) for name, path in MODULES.items()}


def test_every_package_and_module_has_a_layer() -> None:
    assert {room(name) for name in MODULES} - {""} == {*LAYER, "sample"}


@pytest.mark.parametrize("name", [name for name in MODULES if name != "loader" and room(name) != "sample"])
def test_a_module_imports_only_from_the_layers_below(name: str) -> None:
    """Only users import `loader` itself: it opens everything."""
    own = room(name)
    others = {room(other) for other in GRAPH[name]} - {own}
    wrong = {other for other in others - {"sample"} if not other or LAYER[other] >= LAYER[own]}
    assert not wrong
    assert "sample" not in others or own == "cli"


def test_made_up_events_know_nothing_of_the_product() -> None:
    found = {room(other) for name in MODULES if room(name) == "sample" for other in GRAPH[name]} - {"sample"}
    assert found <= SAMPLE_IMPORTS


def test_imports_have_no_cycle() -> None:
    assert sum(map(len, GRAPH.values())) > len(MODULES)
    TopologicalSorter(GRAPH).prepare()  # raises CycleError, which names the cycle


@pytest.mark.parametrize(("library", "places"), LIBRARIES.items())
def test_a_library_is_known_to_few_modules(library: str, places: set[str]) -> None:
    found = {name for name, path in MODULES.items() if library in libraries(path)}
    assert found
    assert found <= places or {name.rpartition(".")[0] for name in found} <= places


@pytest.mark.parametrize("path", REVISIONS, ids=lambda path: path.stem)
def test_a_revision_is_frozen(path: Path) -> None:
    """What it did once does not change with the loader or with the files in `sql/`."""
    assert "loader" not in libraries(path)
    assert ".sql" not in path.read_text("utf-8")


@pytest.mark.parametrize("path", MODULES.values(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_is_short(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= MAX_LINES


@pytest.mark.parametrize("package", sorted(PACKAGES), ids=lambda path: path.name)
def test_a_package_is_small(package: Path) -> None:
    modules = [path for path in package.glob("*.py") if path.name != "__init__.py"]
    assert 0 < len(modules) <= MAX_MODULES
    init = ast.parse((package / "__init__.py").read_text("utf-8"))
    assert len(init.body) == 1
    assert ast.get_docstring(init)


#: Tests at the top of `tests/` of something that is no module: the documents, the structure, the packages built.
WITHOUT_MODULE = {"test_docs", "test_layers", "test_package"}
ELSEWHERE = {"data", "support", "system"}


def test_a_test_file_has_the_name_of_the_module_it_tests() -> None:
    tests = ROOT / "tests"
    files = [path.relative_to(tests) for path in tests.rglob("test_*.py")]
    mirrored = [path for path in files if path.parts[0] not in ELSEWHERE and path.stem not in WITHOUT_MODULE]
    assert len(mirrored) > 30
    assert [path for path in mirrored if not (ROOT / "loader" / path.parent / path.name[5:]).exists()] == []
