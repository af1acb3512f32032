"""The plan of the house, read from the code itself: who may import whom, and how big things get."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "queuectl"
MODULES = sorted(PACKAGE.rglob("*.py"))
FLOORS = {
    **dict.fromkeys(["errors", "instants", "quantities", "ids", "host", "home", "suggestion"], 0),
    "processes": 0,
    "strictjson": 0,
    "spawning": 0,
    "beside": 0,
    "waiting": 0,
    "events": 1,
    "domain": 2,
    "engines": 2,
    "projections": 3,
    "whatif": 4,
    "view": 4,
    "queueview": 5,
    "asking": 6,
    "jobqueue": 6,
    "bulk": 7,
    "telling": 7,
    "exports": 7,
    "runtime": 7,
    "ship": 8,
    "web": 8,
    "cli": 8,
}
STARTED_BY_CLI = {"ship", "web"}
"""Faces do not know each other, but the command line starts the others: within a function, so that
no other command pays for it."""
GROUND = {
    "processes",
    "strictjson",
    "spawning",
    "beside",
    "waiting",
    "home",
    "host",
    "errors",
    "suggestion",
    "quantities",
    "ids",
    "instants",
}
"""The ground floor is one room: its modules may use each other."""
LINES_MAX = 400
FUNCTION_LINES_MAX = 60
OWN_DOORS = {
    "host.py": "it is the door",
    "processes.py": "the part of the door for processes",
    "cli/__init__.py": "its own standard output, when the reader of it has gone",
    "cli/files.py": "the files that are named",
    "cli/progress.py": "how often a progress bar is drawn",
    "cli/status.py": "how often --watch draws",
    "ship/http.py": "the file that --token-file names",
}
"""Who calls the system, and for what."""
SYSTEM = {
    *["os.open", "os.write", "os.pwrite", "os.fsync", "os.fdatasync", "os.rename", "os.unlink"],
    *["os.kill", "os.killpg", "os.fork", "time.time", "time.time_ns", "time.sleep"],
    *["time.monotonic", "os.urandom", "open"],
}
by_module = pytest.mark.parametrize(
    "module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE))
)


def parse(module: Path) -> ast.Module:
    return ast.parse(module.read_text())


def functions(tree: ast.Module) -> list[ast.FunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


def room(module: Path) -> str:
    return module.relative_to(PACKAGE).with_suffix("").parts[0]


def own_imports(tree: ast.AST) -> Iterator[tuple[ast.stmt, str]]:
    """Every import of the package's own, with the room it is from."""
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "own imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "queuectl" and len(parts) > 1:
                yield node, parts[1]  # type: ignore[misc]


def test_every_room_stands_on_a_floor() -> None:
    assert {room(module) for module in MODULES} <= {*FLOORS, "__init__", "__main__"}


@by_module
def test_a_module_imports_only_from_floors_below_or_its_own_room(module: Path) -> None:
    here = room(module)
    if here in ("__init__", "__main__"):
        return
    tree = parse(module)
    lazy = {node for function in functions(tree) for node, _ in own_imports(function)}
    for node, there in own_imports(tree):
        if there in ("__version__", here) or (here in GROUND and there in GROUND):
            continue
        if here == "cli" and there in STARTED_BY_CLI and node in lazy:
            continue
        assert FLOORS[there] < FLOORS[here], f"line {node.lineno}: {here} imports {there}"


@by_module
def test_own_imports_inside_functions_only_where_start_up_counts(module: Path) -> None:
    if room(module) in ("cli", "__init__"):
        return
    for function in functions(parse(module)):
        assert [there for _, there in own_imports(function)] == []


@by_module
def test_a_module_begins_by_saying_what_it_is_for(module: Path) -> None:
    if module.name == "__main__.py":
        return
    assert ast.get_docstring(parse(module))


@by_module
def test_modules_and_functions_keep_their_size(module: Path) -> None:
    assert len(module.read_text().splitlines()) <= LINES_MAX
    for function in functions(parse(module)):
        length = (function.end_lineno or 0) - function.lineno + 1
        assert length <= FUNCTION_LINES_MAX, f"{function.name} has {length} lines"


@by_module
def test_only_the_host_calls_the_system(module: Path) -> None:
    if str(module.relative_to(PACKAGE)) in OWN_DOORS:
        return
    calls = {
        ast.unparse(node.func) for node in ast.walk(parse(module)) if isinstance(node, ast.Call)
    }
    assert calls & SYSTEM == set()
